"""The folder `keys` of a broker's directory: its own pair of keys, and the list of those that may come in.

The list is a file that is replaced as a whole, under a lock, by the commands `distilmq keys …`; the broker reads it
again when it has changed. So a key is added or revoked while the broker is at work, or is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from distilmq.errors import DistilmqUserError
from distilmq.transport.connection_file import Key, write_private
from distilmq.transport.keys import Allowed, AllowList, KeyPair, KeyRole, is_key, new_pair

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Entry(BaseModel):
    """A key in the list."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    role: KeyRole
    public_key: Key
    added: str
    """When, as ISO 8601 has it."""
    revoked: str = ""
    """When; empty while it may come in."""


class _ListFile(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = 1
    keys: list[Entry] = []


class _ServerFile(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = 1
    public_key: Key
    secret_key: Key


class KeyStore:
    """The keys of one broker.

    Args:
        directory: the broker's; `keys` in it is made when something is written.
        tell: is told when the list has become unreadable; the one that was read last stays in force.
        now: the time of day, for what is written.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tell: Callable[[str], None] = lambda problem: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = directory / "keys"
        self._tell = tell
        self._now = now
        self._list: AllowList = {}
        self._seen: tuple[int, ...] | None = None

    # ------------------------------------------------------------ the server's own

    def server(self) -> KeyPair:
        """The broker's own keys; made when there are none.

        Raises:
            DistilmqUserError: they cannot be read, or others can read them.
        """
        with self._locked():
            path = self.folder / "server.json"
            if not path.exists():
                pair = new_pair()
                write_private(path, _ServerFile(public_key=pair.public, secret_key=pair.secret).model_dump_json())
            try:
                found = _ServerFile.model_validate_json(path.read_bytes())
            except ValidationError:
                # Not `from error`: its text shows what was in the file.
                raise DistilmqUserError(
                    f"{path} does not hold the keys of a broker. Remove it, and the next start makes others; then every"
                    " connection file has to be made anew"
                ) from None
        return KeyPair(found.public_key, found.secret_key)

    # ------------------------------------------------------------ who may come in

    def allowed(self) -> AllowList:
        """The list in force: the same object until it has changed. See `transport.front.listen`."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._list = {
                    entry.public_key: Allowed(entry.name, entry.role, revoked=bool(entry.revoked))
                    for entry in self.entries()
                }
            except DistilmqUserError as error:
                self._tell(str(error))
        return self._list

    def entries(self) -> list[Entry]:
        """All keys that were ever added, in that order.

        Raises:
            DistilmqUserError: the list cannot be read.
        """
        try:
            return _ListFile.model_validate_json(self._list_file.read_bytes()).keys
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            raise DistilmqUserError(f"The list of keys {self._list_file} cannot be read: {error}") from error

    def add(self, role: KeyRole, name: str, public_key: str) -> Entry:
        """Lets a key in from now on.

        Raises:
            DistilmqUserError: the name or the key is taken, or is none.
        """
        if not _NAME.fullmatch(name):
            raise DistilmqUserError(
                f"{name!r} is no name for a key: up to 64 letters, digits, points, dashes and underscores"
            )
        if not is_key(public_key):
            raise DistilmqUserError(f"{public_key!r} is no public key: it has 40 characters of Z85")
        with self._locked():
            entries = self.entries()
            for entry in entries:
                if entry.name == name and not entry.revoked:
                    raise DistilmqUserError(f"There is a key of the name {name}: revoke it, or take another name")
                if entry.public_key == public_key:
                    was = f"was revoked at {entry.revoked}" if entry.revoked else "is in the list"
                    raise DistilmqUserError(f"This key {was}, as {entry.name}: make a new one")
            added = Entry(name=name, role=role, public_key=public_key, added=self._now().isoformat("T", "seconds"))
            self._write([*entries, added])
        return added

    def revoke(self, name: str) -> Entry:
        """Lets a key, by its name or itself, in no more.

        Raises:
            DistilmqUserError: no key in force is called so.
        """
        with self._locked():
            entries = self.entries()
            found = next(
                (entry for entry in entries if name in (entry.name, entry.public_key) and not entry.revoked), None
            )
            if found is None:
                in_force = ", ".join(entry.name for entry in entries if not entry.revoked)
                raise DistilmqUserError(f"No key in force is called {name}. There are: {in_force or 'none'}")
            revoked = found.model_copy(update={"revoked": self._now().isoformat("T", "seconds")})
            self._write([revoked if entry is found else entry for entry in entries])
        return revoked

    # ------------------------------------------------------------ files

    @property
    def _list_file(self) -> Path:
        return self.folder / "allowed.json"

    def _write(self, entries: list[Entry]) -> None:
        write_private(self._list_file, _ListFile(keys=entries).model_dump_json(indent=2) + "\n")

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self._list_file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        """Nobody else writes; the folder is there, and this user's alone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = self.folder.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise DistilmqUserError(f"Other users can look into {self.folder}: chmod 700 {self.folder}")
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

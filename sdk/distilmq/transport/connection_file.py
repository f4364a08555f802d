"""Connection files: where a broker is, how to know it, and the key that it lets in.

JSON, readable by its owner only: who has the file has the key. `distilmq broker start` writes the first two into its
directory, `distilmq keys new` writes others.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, ValidationError

from distilmq.errors import DistilmqUserError
from distilmq.transport.keys import ConnectionKeys, KeyPair, KeyRole, is_key
from distilmq.transport.zeromq import LINGER, ZeromqConnection, connect

CONNECTION_ENV_NAME = "DISTILMQ_CONNECTION"
"""Names a connection file, for commands that are given none, or an address alone."""

_ENDPOINT = re.compile(r"tcp://[^\s/]+:\d+")
_OTHERS = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP


def _checked(text: str) -> str:
    if not is_key(text):
        raise ValueError("not a key: 40 characters of Z85")
    return text


def _checked_secret(secret: SecretStr) -> SecretStr:
    _checked(secret.get_secret_value())
    return secret


def _checked_endpoint(endpoint: str) -> str:
    if not _ENDPOINT.fullmatch(endpoint):
        raise ValueError("not tcp://HOST:PORT")
    return endpoint


Key = Annotated[str, AfterValidator(_checked)]
SecretKey = Annotated[SecretStr, AfterValidator(_checked_secret)]


class ConnectionFile(BaseModel):
    """What is in a connection file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    endpoint: Annotated[str, AfterValidator(_checked_endpoint)]
    """Where the broker listens, as the holder of the file reaches it."""
    server_key: Key
    """The broker's public key: nobody else can answer for it."""
    role: KeyRole
    name: str
    """Of the key, in the broker's list."""
    public_key: Key
    secret_key: SecretKey

    @property
    def keys(self) -> ConnectionKeys:
        """What `zeromq.connect` takes."""
        return ConnectionKeys(self.server_key, KeyPair(self.public_key, self.secret_key.get_secret_value()))

    def connect(self, *, linger: float = LINGER, max_message: int | None = None) -> ZeromqConnection:
        """A connection to the broker, see `zeromq.connect`."""
        return connect(self.endpoint, keys=self.keys, linger=linger, max_message=max_message)


def find_connection(target: str | Path | None, *, role: KeyRole, environment: Mapping[str, str]) -> ConnectionFile:
    """The connection that a user means.

    Args:
        target: a connection file; an address, for which the file that `DISTILMQ_CONNECTION` names has the keys; None
            for that file as it is.
        role: what the key is needed for.
        environment: of this process.

    Raises:
        DistilmqUserError: there is no such file, it can be read by others, or it is of the other role.
    """
    named = environment.get(CONNECTION_ENV_NAME, "")
    address = str(target) if target is not None and "://" in str(target) else ""
    path = named if target is None or address else str(target)
    if not path:
        raise DistilmqUserError(
            f"{address or 'A broker'} is reached with keys only: give a connection file, or name one in"
            f" {CONNECTION_ENV_NAME}. The broker keeps keys/{role}.json in its directory"
        )
    connection = read_connection(path)
    if connection.role != role:
        raise DistilmqUserError(
            f"{path} has the key of a {connection.role}, and this needs one of a {role}: give the broker's"
            f" keys/{role}.json, or one made by `distilmq keys new {role}`"
        )
    return connection.model_copy(update={"endpoint": address}) if address else connection


def read_connection(path: str | Path) -> ConnectionFile:
    """The connection in a file.

    Raises:
        DistilmqUserError: there is none, it is none, or other users can read it.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            _check_privacy(path, os.fstat(file.fileno()))
            return ConnectionFile.model_validate_json(file.read())
    except OSError as error:
        raise DistilmqUserError(f"The connection file {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        # Not `from error`: its text shows what was in the file.
        raise DistilmqUserError(f"{path} is no connection file: {problems}") from None


def write_connection(path: Path, connection: ConnectionFile) -> None:
    """Writes a connection file, whole or not at all, for its owner only."""
    values = {**connection.model_dump(mode="json"), "secret_key": connection.secret_key.get_secret_value()}
    write_private(path, json.dumps(values, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600, or leaves it as it was.

    Raises:
        DistilmqUserError: it cannot be written there.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
    except OSError as error:
        raise DistilmqUserError(f"{path} cannot be written: {error.strerror}") from error


def _check_privacy(path: str | Path, status: os.stat_result) -> None:
    """A group may read a file that is somebody else's: Kubernetes gives secrets to a container that way."""
    ours = status.st_uid == os.geteuid()
    if status.st_mode & _OTHERS or (ours and status.st_mode & stat.S_IRWXG):
        raise DistilmqUserError(
            f"The connection file {path} can be read by other users of this machine (mode"
            f" {stat.S_IMODE(status.st_mode):04o}): chmod 600 {path}. If it was so for long, make another key with"
            " `distilmq keys new`, and revoke this one"
        )

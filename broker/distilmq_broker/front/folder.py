"""The folder of a broker: what lies where, readable by its owner only."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from distilmq.errors import DistilmqUserError

_LONGEST = 90
"""Bytes of a folder's path in which a socket can lie."""


class BrokerFolder:
    """Paths within a broker's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = path / "runs"
        self.uploads = path / "uploads"
        self.log_file = path / "broker.log"
        self.secrets_file = path / "secrets.json"
        self.limits_file = path / "limits.json"
        self.epoch_file = path / "epoch"

    def make(self) -> None:
        """Makes the folder.

        Raises:
            DistilmqUserError: it cannot be made.
        """
        try:
            self.runs.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise DistilmqUserError(f"cannot make the broker's folder {self.path}: {error.strerror}") from error

    def run(self, run: str) -> Path:
        """The folder of one run."""
        return self.runs / run

    def next_epoch(self) -> int:
        """Which start of the broker in this folder it is, from 1; noted.

        Raises:
            DistilmqUserError: it cannot be noted.
        """
        try:
            epoch = int(self.epoch_file.read_text()) + 1
        except (FileNotFoundError, ValueError):
            epoch = 1
        try:
            self.epoch_file.write_text(str(epoch))
        except OSError as error:
            raise DistilmqUserError(f"cannot write {self.epoch_file}: {error.strerror}") from error
        return epoch

    def back(self) -> str:
        """Where the coordinators connect to: within the folder, or, where its path is too long for a socket, beside
        the temporary files, in a folder that follows from this one's path."""
        if len(str(self.path).encode()) <= _LONGEST:
            return f"ipc://{self.path}/back"
        digest = hashlib.blake2b(str(self.path).encode(), digest_size=6).hexdigest()
        place = Path(tempfile.gettempdir()) / f"distilmq-{os.getuid()}-broker-{digest}"
        if len(str(place).encode()) > _LONGEST:
            place = Path("/tmp") / place.name
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700 or not stat.S_ISDIR(found.st_mode):
            raise DistilmqUserError(f"{place} belongs to somebody else, or is open to others: remove it")
        return f"ipc://{place}/back"

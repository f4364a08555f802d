"""Where the data of a step lies on this machine, from when it is fetched until its process ends."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from distilmq.errors import DistilmqUserError
from distilmq.protocol.plan import DataFile

_READ = 8 * 1024 * 1024


class DataFolder:
    """A folder of this process's own, made when there is something to put into it."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def write(self, digest: str, offset: int, data: bytes) -> None:
        """Writes bytes of a file, which is called by its digest until it is whole."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="distilmq-data-"))
        with os.fdopen(os.open(self._path / digest, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
            file.truncate(offset) if offset == 0 else file.seek(offset)
            file.write(data)

    def check(self, files: Iterable[DataFile]) -> Path | None:
        """Gives the files their names; the folder, if there is any file.

        Raises:
            DistilmqUserError: one of them is not what the client has sent.
        """
        for file in files:
            if not file.size:
                self.write(file.digest, 0, b"")
            path = self._path / file.digest if self._path is not None else Path(file.digest)
            if _digest(path) != file.digest:
                raise DistilmqUserError(f"the data file '{file.name}' came damaged: submit the pipeline again")
            path.rename(path.with_name(file.name))
        return self._path

    def remove(self) -> None:
        """Gives the disk space back."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while data := file.read(_READ):
            digest.update(data)
    return digest.hexdigest()

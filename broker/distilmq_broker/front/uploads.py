"""Data of runs that are about to be submitted: it comes in parts, and lies here until its run is started."""

from __future__ import annotations

import os
import re
import shutil
import time
import zlib
from collections.abc import Iterable
from pathlib import Path

from distilmq.protocol.plan import DataFile, Plan

KEPT = 24 * 3600.0
"""Seconds after which what was never made a run of is removed."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
"""What a file is called: nothing that a peer says leads out of the folder."""


class UploadError(Exception):
    """A part cannot be kept: why."""


class Uploads:
    """Files below one folder, by run and digest.

    Args:
        folder: made when the first part comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def forget_old(self) -> None:
        """Removes what nobody has made a run of for long."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(path, ignore_errors=True)

    def take(self, run: str, digest: str, offset: int, crc: int, data: bytes) -> int:
        """Keeps a part, if it is the next one; tells how many bytes are here.

        Raises:
            UploadError: it is damaged, or cannot be written.
        """
        if not _DIGEST.fullmatch(digest):
            raise UploadError(f"{digest!r:.100} is no digest of a file")
        if zlib.crc32(data) != crc:
            raise UploadError("a part came damaged")
        path = self._folder / run / digest
        try:
            if not data:
                return _size(path)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _append(path, offset, data)
        except OSError as error:
            raise UploadError(f"the broker cannot keep the data: {error.strerror}") from error

    def missing(self, run: str, plan: Plan) -> tuple[str, ...]:
        """The files of a plan that are not here, or not whole."""
        return tuple(file.digest for file in _files(plan) if _size(self._folder / run / file.digest) != file.size)

    def move(self, run: str, target: Path) -> None:
        """Gives the files of a run to it.

        Raises:
            OSError: they cannot be moved.
        """
        if (self._folder / run).is_dir():
            (self._folder / run).replace(target)


def _files(plan: Plan) -> Iterable[DataFile]:
    return [file for step in plan.steps for file in step.data]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _append(path: Path, offset: int, data: bytes) -> int:
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size != offset:
            return size
        try:
            file.seek(offset)
            file.write(data)
            file.flush()
        except OSError:
            os.ftruncate(file.fileno(), offset)
            raise
        return offset + len(data)

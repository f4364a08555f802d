"""Payloads that are written as they come, because they are too large to be held in memory until they are whole.

Each has a segment of its own, in which its pieces (each an array of rows) lie one behind the other. Until it is
recorded the file has a name that nothing refers to: it goes with the object, and with the next start after a crash.
"""

from __future__ import annotations

import os
import weakref
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distilmq.errors import JournalError

UNFINISHED = ".part"
"""Ends the name of the file of a payload that is not recorded."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a payload that are read and checked together."""

    rows: int
    length: int
    crc: int


class LargePayload:
    """One payload on its way to the disk. It is as good as its bytes: compared by what is in it.

    Args:
        segment: the number of its segment.
        path: where it will lie once it is recorded.
        settled: told the size of its file when it is recorded.
    """

    def __init__(self, segment: int, path: Path, settled: Callable[[int, int], None]) -> None:
        self.segment = segment
        self.pieces: list[Piece] = []
        self.size = 0
        """Bytes that are on file."""
        self._path = path
        self._settled = settled
        self._length = 0
        """Of the piece that is being written."""
        self._crc = 0
        self._draft = path.with_suffix(UNFINISHED)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self._draft, flags, 0o600)
        except OSError as error:
            raise JournalError(f"cannot make {self._draft}: {error.strerror}") from error
        self._abandon = weakref.finalize(self, _remove, self._descriptor, self._draft)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LargePayload) and self.pieces == other.pieces

    __hash__ = None  # type: ignore[assignment]  # compared by value, and it grows

    @property
    def rows(self) -> int:
        """Rows in whole pieces."""
        return sum(piece.rows for piece in self.pieces)

    @property
    def whole(self) -> bool:
        """Whether no piece is begun and not ended."""
        return not self._length

    def write(self, data: bytes) -> None:
        """Adds bytes to the piece that is being written.

        Raises:
            JournalError: they cannot be written; then nothing is added, and it may be tried again.
        """
        view = memoryview(data)
        end = self.size
        try:
            while view:
                written = os.pwrite(self._descriptor, view, end)
                end += written
                view = view[written:]
        except OSError as error:
            raise JournalError(f"cannot write {self._draft}: {error.strerror}") from error
        self.size = end
        self._length += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def end_piece(self, rows: int) -> None:
        """The piece is whole, and has so many rows."""
        self.pieces.append(Piece(rows, self._length, self._crc))
        self._length = self._crc = 0

    def settle(self) -> None:
        """Gives it the name by which the ledger will know it: nothing is added any more. It may be done again.

        Raises:
            JournalError: it cannot be done; it may be tried again.
        """
        if not self._abandon.alive:
            return
        try:
            self._draft.rename(self._path)
        except OSError as error:
            raise JournalError(f"cannot write {self._path}: {error.strerror}") from error
        self._abandon.detach()
        self._settled(self.segment, self.size)

    def close(self, *, durable: bool) -> None:
        """Settles it, has it survive a power loss if it is to, and closes the file.

        Raises:
            JournalError: it cannot be done; it may be tried again.
        """
        self.settle()
        try:
            if durable:
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise JournalError(f"cannot write {self._path}: {error.strerror}") from error
        os.close(self._descriptor)

    def abandon(self) -> None:
        """Removes what was written: nobody wants it."""
        self._abandon()


def remove_unfinished(folder: Path) -> None:
    """Removes what a coordinator that ended left unfinished: its workers send it again."""
    try:
        for path in folder.glob(f"*{UNFINISHED}"):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(f"cannot remove what is unfinished in {folder}: {error.strerror}") from error


def _remove(descriptor: int, path: Path) -> None:
    os.close(descriptor)
    path.unlink(missing_ok=True)

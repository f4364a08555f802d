"""Rows that go by way of shared files: written before the message that names them, read before it is judged."""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Callable, Sequence
from functools import partial

from distilmq.protocol.messages import Lease, ResultPart, SharedFile
from distilmq.transport.errands import Errands
from distilmq.transport.shared_files import SharedFiles, SharedFilesError


class ByFile:
    """The way there and back; the thread of the socket waits for neither.

    Args:
        files: of the run.
    """

    def __init__(self, files: SharedFiles) -> None:
        self._files = files
        self._errands = Errands()
        self._being_written: set[tuple[Lease, int]] = set()

    def fileno(self) -> int:
        """Readable when there is something to settle."""
        return self._errands.fileno()

    def settle(self) -> None:
        """Goes on with what was written and read meanwhile."""
        self._errands.settle()

    def put_away(self, part: ResultPart, data: bytes, say: Callable[[ResultPart, Sequence[bytes]], None]) -> None:
        """Writes the rows of a part into a file, and has it said; else they go along after all."""
        which = (part.lease, part.number)
        if which in self._being_written:
            return
        self._being_written.add(which)

        def end(written: tuple[ResultPart, Sequence[bytes]]) -> None:
            self._being_written.discard(which)
            say(*written)

        self._errands.ask("out", lambda: partial(_written, self._files, part, data), end)

    def fetch(self, file: SharedFile, take: Callable[[bytes], None]) -> None:
        """Reads the rows of a part; of those that cannot be read nothing is told: they will be asked for again."""

        def end(data: bytes | None) -> None:
            if data is not None:
                take(data)
                self._errands.ask(file.name, lambda: partial(_removed, self._files, file), _nothing)

        self._errands.ask("in", lambda: partial(_read, self._files, file), end)


def _written(files: SharedFiles, part: ResultPart, data: bytes) -> tuple[ResultPart, Sequence[bytes]]:
    try:
        file = files.write(f"part-{uuid.uuid4().hex}", data)
    except SharedFilesError as error:
        print(f"{error}; its rows are sent to the coordinator itself", file=sys.stderr)
        return part, [data]
    return part.model_copy(update={"file": file}), ()


def _read(files: SharedFiles, file: SharedFile) -> bytes | None:
    try:
        return files.read(file)
    except SharedFilesError as error:
        print(f"{error}; it is asked for again", file=sys.stderr)
        return None


def _removed(files: SharedFiles, file: SharedFile) -> None:
    # What cannot be removed now goes with the folder.
    with contextlib.suppress(SharedFilesError):
        files.remove(file)


def _nothing(given: object) -> None:
    """Nobody waits for it."""

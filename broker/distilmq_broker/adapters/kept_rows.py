"""Rows that are known already of batches that are taken again: they are handed along, so that nobody is asked twice.

An output is kept under the place of its input row and a digest of that row's bytes. An input row that has changed
(a step above computed it anew) is thus not found; one that moved within its batch, since a row before it was
dropped or came in addition, is.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from distilmq.errors import JournalError, RemoteProtocolError
from distilmq.protocol.packing import unpack
from distilmq.protocol.rows import split_payload
from distilmq.protocol.seq_no import SeqNo, sort_key
from distilmq_broker.adapters.ledger import ledger_errors
from distilmq_broker.adapters.segments import Place, Segments
from distilmq_broker.core.facts import Slice

KeptRow = tuple[int, list[bytes], dict[str, object] | None]
"""Place in the batch's input, the rows that come out for it, and why it failed, if it did."""

_Entry = tuple[int, bytes, Place, int, int, bytes | None]
"""Row of the source, digest, and of the batch that gave the output: its place, the first row and the one behind."""


class KeptRows:
    """What is kept in the ledger of one run."""

    def __init__(self, connection: sqlite3.Connection, segments: Segments, path: Path) -> None:
        self._connection = connection
        self._segments = segments
        self._path = path
        self._split: tuple[Place, list[bytes]] | None = None

    def steps(self) -> list[str]:
        """The steps of which something is kept."""
        with ledger_errors(self._path):
            return [step for (step,) in self._connection.execute("SELECT DISTINCT step FROM kept")]

    def of(self, step: str, branches: Sequence[Sequence[Slice]], rows: Sequence[Iterable[bytes]]) -> list[KeptRow]:
        """What is kept for the rows of a batch.

        Args:
            step: whose batch it is.
            branches: the rows it takes, per predecessor that takes part.
            rows: those rows, looked at one after the other.
        """
        lengths = {sum(part.stop - part.start for part in branch) for branch in branches}
        if len(lengths) != 1:
            return []
        digests = [digest(together) for together in zip(*rows, strict=True)]
        found: list[KeptRow] = []
        at = 0
        for part in branches[0]:
            wanted = {part.start + offset: digests[at + offset] for offset in range(part.stop - part.start)}
            for row, entry in self._matching(step, part.seq_no, wanted):
                if (output := self._output(entry)) is not None:
                    failure = unpack(entry[5]) if entry[5] is not None else None
                    found.append((at + row - part.start, output, failure))
            at += part.stop - part.start
        return found

    def _matching(self, step: str, source: SeqNo, wanted: dict[int, bytes]) -> Iterator[tuple[int, _Entry]]:
        entries = {entry[0]: entry for entry in self._entries(step, source)}
        moved: dict[bytes, list[_Entry]] = {}
        for place, entry in entries.items():
            if wanted.get(place) != entry[1]:
                moved.setdefault(entry[1], []).append(entry)
        for row, known in wanted.items():
            entry = entries.get(row)
            if entry is not None and entry[1] == known:
                yield row, entry
            elif left := moved.get(known):
                yield row, left.pop(0)

    def _entries(self, step: str, source: SeqNo) -> Iterator[_Entry]:
        with ledger_errors(self._path):
            rows = self._connection.execute(
                "SELECT source_row, digest, segment, offset, length, crc, start, stop, failure FROM kept"
                " WHERE step = ? AND source = ? ORDER BY source_row",
                (step, sort_key(source)),
            )
            for row, known, segment, offset, length, crc, start, stop, failure in rows:
                yield row, known, Place(segment, offset, length, crc), start, stop, failure

    def _output(self, entry: _Entry) -> list[bytes] | None:
        """The rows of an entry; None where they cannot be read: they are computed again then."""
        _, _, place, start, stop, _ = entry
        if self._split is None or self._split[0] != place:
            try:
                self._split = place, split_payload(self._segments.read(place))
            except (JournalError, RemoteProtocolError):
                return None
        return self._split[1][start:stop]


def digest(branches: Iterable[bytes]) -> bytes:
    """Stands for an input row: of a join, for one row per branch."""
    hashed = hashlib.sha256()
    for row in branches:
        hashed.update(len(row).to_bytes(8, "big"))
        hashed.update(row)
    return hashed.digest()

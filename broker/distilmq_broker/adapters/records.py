"""Reading what is recorded: the ledger says where the rows of a batch lie, the segments hold them.

A batch that was halved is read as one: its parts form a tree (part `p` was replaced by `2p + 1` and `2p + 2`)
whose leaves, from left to right, hold its rows. Rows are cut out and put together without being decoded.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from distilmq.errors import JournalError, RemoteProtocolError
from distilmq.protocol.messages import RowFailure
from distilmq.protocol.packing import unpack
from distilmq.protocol.rows import join_rows, split_payload
from distilmq.protocol.seq_no import SeqNo, from_sort_key, show, sort_key
from distilmq_broker.adapters import ledger_rows
from distilmq_broker.adapters.ledger import BURIED, DONE, HALVED, ledger_errors
from distilmq_broker.adapters.segments import Place, Segments
from distilmq_broker.core.facts import Fact, JobStarted, RouteRecorded, Slice, UsageRecorded
from distilmq_broker.payloads import join_payloads
from distilmq_broker.ports import AnswerEntry, JobEntry

_KEPT_PLACES = 4096
_KEPT_SPLITS = 8


@dataclass(frozen=True, slots=True)
class _Stored:
    rows: int
    counts: tuple[int, ...]
    """Rows at each place."""
    places: tuple[Place, ...]


class Records:
    """The recorded batches, answers and dead letters of one run."""

    def __init__(self, connection: sqlite3.Connection, segments: Segments, path: Path) -> None:
        self.connection = connection
        self._segments = segments
        self._path = path
        self._places: OrderedDict[tuple[str, SeqNo], _Stored] = OrderedDict()
        """Of batches recorded or read lately: most are read once, soon after they were recorded."""
        self._splits: OrderedDict[Place, list[bytes]] = OrderedDict()
        """Rows of what is read bit by bit."""

    def remember(self, step: str, seq_no: SeqNo, rows: int, place: Place) -> None:
        """Notes where a batch that is in one part lies."""
        self._places[step, seq_no] = _Stored(rows, (rows,), (place,))
        if len(self._places) > _KEPT_PLACES:
            self._places.popitem(last=False)

    def forget_places(self) -> None:
        """Reads the ledger again for every batch."""
        self._places.clear()
        self._splits.clear()

    def facts(self) -> Iterator[Fact]:
        """Every fact that still counts: steps in the order of the plan, batches in the order of rows."""
        with ledger_errors(self._path):
            # By the key, step by step: nothing is sorted, so memory stays flat.
            for (step,) in self.connection.execute("SELECT name FROM step ORDER BY ordinal").fetchall():
                found = self.connection.execute(
                    f"SELECT {ledger_rows.FACT_COLUMNS} FROM batch WHERE step = ? ORDER BY seq_no, part", (step,)
                )
                for key, parts in groupby(found, key=itemgetter(1)):
                    yield from self._facts_of_batch(step, key, parts)
            yield from self._answer_facts()
            yield from self._running_jobs()
            limits = self.connection.execute(f"SELECT {ledger_rows.LIMIT_COLUMNS} FROM learnt_limit").fetchall()
        yield from self.usage()
        yield from map(ledger_rows.to_limit_fact, limits)

    def payload(self, step: str, seq_no: SeqNo) -> bytes:
        """The output of a recorded batch: a msgpack array of rows."""
        places = self._stored(step, seq_no).places
        if len(places) == 1:
            return self._read(step, seq_no, places[0])
        return self._joined([self._read(step, seq_no, place) for place in places])

    def pieces(self, step: str, seq_no: SeqNo, start: int) -> Iterator[tuple[int, bytes]]:
        """The rows of a recorded batch from one on, as much at a time as lies together: their number, and the rows."""
        stored = self._stored(step, seq_no)
        first = 0
        for count, place in zip(stored.counts, stored.places, strict=True):
            stop = first + count
            if start <= first and count:
                yield count, self._read(step, seq_no, place)
            elif start < stop:
                yield stop - start, join_rows(self._split(step, seq_no, place)[start - first :])
            first = stop

    def rows(self, slices: Iterable[Slice]) -> bytes:
        """The rows of some slices, joined: a msgpack array of rows."""
        pieces = [piece for part in slices for piece in self._pieces(part)]
        return pieces[0] if len(pieces) == 1 else self._joined(pieces)

    def answers(self, step: str, slices: Iterable[Slice]) -> list[AnswerEntry]:
        """Recorded answers for rows in these slices; the row is counted over the slices."""
        found: list[AnswerEntry] = []
        before = 0
        with ledger_errors(self._path):
            for part in slices:
                rows = self.connection.execute(
                    "SELECT source_row, key, occurrence, lost, segment, offset, length, crc FROM answer"
                    " WHERE step = ? AND source = ? AND source_row >= ? AND source_row < ?"
                    " ORDER BY source_row, key, occurrence",
                    (step, sort_key(part.seq_no), part.start, part.stop),
                )
                for row, key, occurrence, lost, *place in rows:
                    answer = self._segments.read(Place(*place))
                    entry = (before + row - part.start, key, occurrence, answer)
                    found.append(entry if lost is None else (*entry, tuple(unpack(lost))))
                before += part.stop - part.start
        return found

    def in_jobs(self, step: str, slices: Iterable[Slice]) -> list[JobEntry]:
        """Requests of rows in these slices that are in batch jobs; the row is counted over the slices."""
        found: list[JobEntry] = []
        before = 0
        with ledger_errors(self._path):
            for part in slices:
                rows = self.connection.execute(
                    "SELECT source_row, key, occurrence, job, id, number, tries, size, time"
                    " FROM job_request JOIN job USING (step, job)"
                    " WHERE step = ? AND source = ? AND source_row >= ? AND source_row < ?"
                    " ORDER BY source_row, key, occurrence",
                    (step, sort_key(part.seq_no), part.start, part.stop),
                )
                found += [(before + row - part.start, *more) for row, *more in rows]
                before += part.stop - part.start
        return found

    def batches(self, step: str, after: str = "") -> Iterator[tuple[SeqNo, int]]:
        """Number and rows of the step's recorded batches behind a sort key, in the order of rows."""
        with ledger_errors(self._path):
            found = self.connection.execute(
                "SELECT seq_no, part, state, rows, pieces, segment, offset, length, crc FROM batch"
                f" WHERE step = ? AND seq_no {'>' if after else '>='} ? ORDER BY seq_no, part",
                (step, after),
            )
            for key, parts in groupby(found, key=itemgetter(0)):
                stored = _put_together({row[1]: row[2:] for row in parts})
                if stored is not None:
                    yield from_sort_key(key), stored.rows

    def usage(self) -> Iterator[UsageRecorded]:
        """What models took, a total for each step, model and worker process."""
        with ledger_errors(self._path):
            found = self.connection.execute(f"SELECT {ledger_rows.USAGE_COLUMNS} FROM usage")
            yield from map(ledger_rows.to_usage_fact, found)

    def each_row(self, slices: Iterable[Slice]) -> Iterator[bytes]:
        """The rows of some slices, one after the other; of one slice at a time they are in memory."""
        for part in slices:
            yield from _rows_of(part.step, part.seq_no, self.rows([part]))

    def size(self, part: Slice) -> int:
        """About how many bytes the rows of a slice have: of a batch that is taken in part, its share."""
        stored = self._stored(part.step, part.seq_no)
        return sum(place.length for place in stored.places) * (part.stop - part.start) // max(1, stored.rows)

    def places_of(self, part: Slice) -> tuple[Place | None, ...]:
        """Where the rows of a slice lie, in order; None where they are not all the rows of what is recorded."""
        stored = self._stored(part.step, part.seq_no)
        return stored.places if part.start == 0 and part.stop == stored.rows else (None,)

    def rows_at(self, part: Slice, place: Place | None) -> bytes:
        """The rows at one of the places of a slice: a msgpack array."""
        return self.rows([part]) if place is None else self._read(part.step, part.seq_no, place)

    def failures(self, step: str = "") -> Iterator[dict[str, object]]:
        """The dead letters."""
        with ledger_errors(self._path):
            found = self.connection.execute(
                "SELECT step, seq_no, part, row, input, error, attempt, worker, time, answer, attempts FROM dead_letter"
                + (" WHERE step = ?" if step else ""),
                (step,) if step else (),
            )
            for name, key, part, row, data, error, attempt, worker, time, answer, attempts in found:
                yield {
                    "step": name,
                    "seq_no": list(from_sort_key(key)),
                    "part": part,
                    "row": row,
                    "input": data,
                    "error": unpack(error),
                    "answer": answer,
                    "attempts": attempts,
                    "attempt": attempt,
                    "worker": worker,
                    "time": time,
                }

    def _facts_of_batch(self, step: str, key: str, parts: Iterable[tuple[Any, ...]]) -> Iterator[Fact]:
        routes: bytes | None = None
        for row in parts:
            failed = row[9]
            yield ledger_rows.to_fact(row, self.failures_of(step, key, row[2]) if failed else ())
            routes = routes or row[12]
        # A choice is made when the whole batch is recorded.
        if routes is not None:
            yield RouteRecorded(step, from_sort_key(key), tuple(unpack(routes)))

    def failures_of(self, step: str, key: str, part: int) -> tuple[RowFailure, ...]:
        """The dead letters of one batch or part, by its sort key."""
        found = self.connection.execute(
            f"SELECT {ledger_rows.FAILURE_COLUMNS} FROM dead_letter"
            " WHERE step = ? AND seq_no = ? AND part = ? ORDER BY row",
            (step, key, part),
        )
        return tuple(ledger_rows.to_failure(*row) for row in found)

    def _answer_facts(self) -> Iterator[Fact]:
        found = self.connection.execute("SELECT step, source, source_row, key, occurrence FROM answer")
        for step, source, row, key, occurrence in found:
            yield ledger_rows.to_answer_fact(step, source, row, key, occurrence)

    def _running_jobs(self) -> Iterator[Fact]:
        """Batch jobs that were started, and of which no end is known."""
        found = self.connection.execute(
            "SELECT step, job, id FROM job WHERE id <> '' AND NOT ended"
            " AND EXISTS (SELECT 1 FROM job_request AS asked WHERE asked.step = job.step AND asked.job = job.job)"
        )
        yield from (JobStarted(*row) for row in found)

    def _stored(self, step: str, seq_no: SeqNo) -> _Stored:
        stored = self._places.get((step, seq_no))
        if stored is not None:
            return stored
        with ledger_errors(self._path):
            found = self.connection.execute(
                "SELECT part, state, rows, pieces, segment, offset, length, crc FROM batch"
                " WHERE step = ? AND seq_no = ?",
                (step, sort_key(seq_no)),
            ).fetchall()
        stored = _put_together({row[0]: row[1:] for row in found})
        if stored is None:
            raise JournalError(f"{self._path}: batch {show(seq_no)} of step {step!r} is not recorded")
        return stored

    def _pieces(self, part: Slice) -> list[bytes]:
        """The rows of a slice: what lies at one place together."""
        stored = self._stored(part.step, part.seq_no)
        if part.stop > stored.rows:
            raise JournalError(
                f"batch {show(part.seq_no)} of step {part.step!r} has {stored.rows} rows, not {part.stop}"
            )
        found: list[bytes] = []
        first = 0
        for count, place in zip(stored.counts, stored.places, strict=True):
            start, stop = max(part.start - first, 0), min(part.stop - first, count)
            first += count
            if start == 0 and stop == count:
                found.append(self._read(part.step, part.seq_no, place))
            elif start < stop:
                found.append(join_rows(self._split(part.step, part.seq_no, place)[start:stop]))
        return found

    def _joined(self, pieces: list[bytes]) -> bytes:
        try:
            return join_payloads(pieces)
        except ValueError as error:
            raise JournalError(f"{self._path}: {error}") from error

    def _split(self, step: str, seq_no: SeqNo, place: Place) -> list[bytes]:
        rows = self._splits.get(place)
        if rows is None:
            rows = self._splits[place] = _rows_of(step, seq_no, self._read(step, seq_no, place))
            if len(self._splits) > _KEPT_SPLITS:
                self._splits.popitem(last=False)
        return rows

    def _read(self, step: str, seq_no: SeqNo, place: Place) -> bytes:
        try:
            return self._segments.read(place)
        except JournalError as error:
            raise JournalError(f"batch {show(seq_no)} of step {step!r}: {error}") from error


def _rows_of(step: str, seq_no: SeqNo, payload: bytes) -> list[bytes]:
    try:
        return split_payload(payload)
    except RemoteProtocolError as error:
        raise JournalError(f"batch {show(seq_no)} of step {step!r}, as its worker sent it: {error}") from error


def _put_together(parts: dict[int, tuple[Any, ...]], part: int = 0) -> _Stored | None:
    """The leaves of the tree of parts, or None while one is missing; of each part: state, rows, pieces, place."""
    found = parts.get(part)
    if found is None:
        return None
    state, rows, pieces, *place = found
    if state in (DONE, BURIED):
        counts, places = zip(*ledger_rows.placed_pieces(Place(*place), rows, pieces), strict=True)
        return _Stored(rows, counts, places)
    if state != HALVED:
        return None
    first, second = _put_together(parts, 2 * part + 1), _put_together(parts, 2 * part + 2)
    if first is None or second is None:
        return None
    return _Stored(first.rows + second.rows, first.counts + second.counts, first.places + second.places)

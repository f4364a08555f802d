"""A run's ledger from that of another one, as if its failed rows, and what was made from them, were not done yet.

Batches with such rows are left out whole, and cut again under the same numbers; the outputs of their other rows
are kept beside them (see `kept_rows`), and so are the choices of routing functions.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from operator import itemgetter

from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.messages import RowFailure
from distilmq.protocol.packing import pack, unpack
from distilmq.protocol.plan import StepSpec
from distilmq.protocol.rows import split_payload
from distilmq.protocol.seq_no import SeqNo, from_sort_key, sort_key
from distilmq_broker.adapters import ledger_rows
from distilmq_broker.adapters.kept_rows import digest
from distilmq_broker.adapters.ledger import BURIED, DONE, ledger_errors
from distilmq_broker.adapters.ledger_import import AdoptedSegments, RecordedRun
from distilmq_broker.adapters.ledger_rows import placed_pieces, unpack_inputs
from distilmq_broker.adapters.records import Records
from distilmq_broker.adapters.segments import Place
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.core.facts import Slice
from distilmq_broker.core.retaking import retaken

_KEEP = (
    "INSERT OR REPLACE INTO kept (step, source, source_row, digest, segment, offset, length, crc, start, stop,"
    " failure) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PARTS = (
    "SELECT part, rows, taken, inputs, pieces, segment, offset, length, crc, counts FROM batch"
    f" WHERE step = ? AND seq_no = ? AND state IN ({DONE}, {BURIED}) ORDER BY part"
)


@dataclass(frozen=True, slots=True)
class Retaken:
    """What a revision does again."""

    failed: dict[str, int]
    """Per step, how many failed rows."""
    batches: dict[str, list[SeqNo]] = field(repr=False)
    """Per step, the batches that are taken again."""


def revise(run: RecordedRun, only: FailureFilter, journal: SqliteJournal) -> Retaken:
    """Writes what stays of a run into a journal that has nothing yet.

    Args:
        run: the one that is revised.
        only: which of its failed rows are computed again.
        journal: of the revision.

    Raises:
        JournalError: something cannot be read or written; then the journal is as it was.
    """
    revision = _Revision(run, only)
    names = {step.name: step.name for step in run.plan.steps}
    run.import_steps(names, journal, also=revision.take_out)
    return Retaken(revision.counts(), revision.again)


class _Revision:
    def __init__(self, run: RecordedRun, only: FailureFilter) -> None:
        self._run = run
        self._only = only
        self._specs = {step.name: step for step in run.plan.steps}
        with ledger_errors(run.path):
            self._failed = self._failed_rows()
            self.again = retaken(run.plan, self._recorded(), {step: list(rows) for step, rows in self._failed.items()})

    def counts(self) -> dict[str, int]:
        return {
            step: sum(len(failures) for parts in batches.values() for failures in parts.values())
            for step, batches in self._failed.items()
        }

    def take_out(self, target: sqlite3.Connection, segments: AdoptedSegments) -> None:
        """Takes the batches out of what was imported, and keeps what is known of them."""
        self._drop_kept_failures(target)
        self._take_along(target)
        records = self._run.records()
        for step, numbers in self.again.items():
            keeps = _works_row_by_row(self._specs[step])
            for number in numbers:
                if keeps:
                    target.executemany(_KEEP, self._kept(step, number, records, segments))
                self._take_out_batch(target, step, sort_key(number))
            _recount(target, step)

    def _failed_rows(self) -> dict[str, dict[SeqNo, dict[int, list[RowFailure]]]]:
        """Step to batch to part to the failures that are meant; a generator's rows are made by its code alone."""
        found: dict[str, dict[SeqNo, dict[int, list[RowFailure]]]] = {}
        letters = self._run.connection.execute(
            f"SELECT step, seq_no, part, {ledger_rows.FAILURE_COLUMNS} FROM dead_letter"
        )
        for step, key, part, *told in letters:
            failure = ledger_rows.to_failure(*told)
            if self._specs[step].kind != "generator" and self._means(step, failure):
                found.setdefault(step, {}).setdefault(from_sort_key(key), {}).setdefault(part, []).append(failure)
        return found

    def _means(self, step: str, failure: RowFailure) -> bool:
        return self._only.takes(step, failure.error.type, failure.error.message)

    def _recorded(self) -> Mapping[str, Mapping[SeqNo, Iterable[tuple[str, SeqNo]]]]:
        rows = self._run.connection.execute(
            "SELECT step, seq_no, inputs FROM batch WHERE inputs IS NOT NULL ORDER BY step, seq_no, part"
        )
        recorded: dict[str, dict[SeqNo, set[tuple[str, SeqNo]]]] = {}
        for step, batches in groupby(rows, key=itemgetter(0)):
            of_step = recorded.setdefault(step, {})
            for _, key, inputs in batches:
                slices = [part for parts in unpack_inputs(inputs) for part in parts]
                of_step.setdefault(from_sort_key(key), set()).update((part.step, part.seq_no) for part in slices)
        return recorded

    def _kept(
        self, step: str, number: SeqNo, records: Records, segments: AdoptedSegments
    ) -> Iterator[tuple[object, ...]]:
        """What is known of the rows of a batch: the outputs of all that are not computed again."""
        parts = self._run.connection.execute(_PARTS, (step, sort_key(number))).fetchall()
        for part, rows, taken, inputs, pieces, segment, offset, length, crc, counts in parts:
            again = self._failed.get(step, {}).get(number, {}).get(part, [])
            others = [failure for failure in records.failures_of(step, sort_key(number), part) if failure not in again]
            each: list[int] = unpack(counts) if counts else [1] * taken
            if sum(each) != rows or any(failure.out for failure in (*again, *others)):
                continue  # Which rows came out for which is not known.
            place = Place(segments.here(segment), offset, length, crc)
            outputs = _Outputs(placed_pieces(place, rows, pieces))
            failures = {failure.row: pack(failure.model_dump()) for failure in others}
            left_out = {failure.row for failure in again}
            known = _input_digests(unpack_inputs(inputs), records)
            stops = list(accumulate(each))
            for row, (source, source_row, digested) in enumerate(known):
                if row not in left_out:
                    found = outputs.find(stops[row] - each[row], stops[row])
                    if found is not None:
                        yield (step, sort_key(source), source_row, digested, *found, failures.get(row))

    def _take_out_batch(self, target: sqlite3.Connection, step: str, key: str) -> None:
        (routes,) = target.execute(
            "SELECT max(routes) FROM batch WHERE step = ? AND seq_no = ? AND part = 0", (step, key)
        ).fetchone()
        for table in ("batch", "dead_letter"):
            target.execute(f"DELETE FROM {table} WHERE step = ? AND seq_no = ?", (step, key))
        if routes is not None:
            target.execute(
                "INSERT INTO batch (step, seq_no, part, state, attempt, deaths, routes) VALUES (?, ?, 0, 0, 0, 0, ?)",
                (step, key, routes),
            )

    def _take_along(self, target: sqlite3.Connection) -> None:
        """What it cost so far, and what was learnt of its accounts: a revision goes on with both."""
        for table, columns in (("usage", ledger_rows.USAGE_COLUMNS), ("learnt_limit", ledger_rows.LIMIT_COLUMNS)):
            marks = ", ".join("?" for _ in columns.split(","))
            found = self._run.connection.execute(f"SELECT {columns} FROM {table}").fetchall()
            target.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", found)

    def _drop_kept_failures(self, target: sqlite3.Connection) -> None:
        """Of a revision that is revised before its end: rows that are kept as failed, and are meant now."""
        kept = target.execute("SELECT step, source, source_row, failure FROM kept WHERE failure IS NOT NULL").fetchall()
        meant = [row[:3] for row in kept if self._means(row[0], RowFailure.model_validate(unpack(row[3])))]
        target.executemany("DELETE FROM kept WHERE step = ? AND source = ? AND source_row = ?", meant)


class _Outputs:
    """Where the output rows of a batch lie."""

    def __init__(self, pieces: tuple[tuple[int, Place], ...]) -> None:
        self._places = [place for _, place in pieces]
        self._stops = list(accumulate(rows for rows, _ in pieces))

    def find(self, start: int, stop: int) -> tuple[int, int, int, int, int, int] | None:
        """Place of the piece that has some rows, the first of them in it, and the one behind; None if several have."""
        piece = min(bisect_right(self._stops, start), len(self._stops) - 1)
        if stop > self._stops[piece]:
            return None
        place, first = self._places[piece], self._stops[piece - 1] if piece else 0
        return (place.segment, place.offset, place.length, place.crc, start - first, stop - first)


def _works_row_by_row(step: StepSpec) -> bool:
    return step.kind == "normal" and not step.stateful


def _input_digests(inputs: tuple[tuple[Slice, ...], ...], records: Records) -> list[tuple[SeqNo, int, bytes]]:
    """Of each row that a batch took: the batch and the row it was there, in the first branch, and its digest."""
    present = [slices for slices in inputs if slices]
    branches = [split_payload(records.rows(slices)) for slices in present]
    if not branches or any(len(rows) != len(branches[0]) for rows in branches):
        return []
    places = [(part.seq_no, row) for part in present[0] for row in range(part.start, part.stop)]
    together = zip(*branches, strict=True)
    return [(*place, digest(rows)) for place, rows in zip(places, together, strict=True)]


def _recount(target: sqlite3.Connection, step: str) -> None:
    target.execute("DELETE FROM cursor WHERE step = ?", (step,))
    target.execute(
        "INSERT INTO cursor (step, batches, rows) SELECT step, count(*), sum(rows) FROM batch"
        f" WHERE step = ? AND state IN ({DONE}, {BURIED}) GROUP BY step",
        (step,),
    )

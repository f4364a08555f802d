"""The journal of one run: a SQLite ledger beside append-only payload segments.

The order is always: payload bytes on file, then the ledger's commit; who records acknowledges after that. A
crash leaves at most bytes that no row of the ledger names. `append` only notes what is to be done, so a commit
that failed (a full disk) is done again from the start: the bytes go to the same places, the statements into a
new transaction.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from distilmq.protocol.packing import pack
from distilmq.protocol.plan import StepSpec
from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.adapters import ledger_rows
from distilmq_broker.adapters.kept_rows import KeptRow, KeptRows
from distilmq_broker.adapters.large_payloads import LargePayload, remove_unfinished
from distilmq_broker.adapters.ledger import BURIED, HALVED, ledger_errors, open_ledger
from distilmq_broker.adapters.part_reader import PartReader
from distilmq_broker.adapters.records import Records
from distilmq_broker.adapters.segments import ROTATE_AT, Segments
from distilmq_broker.core.facts import (
    AnswerRecorded,
    BatchHalved,
    BatchRecorded,
    DeathCounted,
    Fact,
    JobEnded,
    JobPlanned,
    JobStarted,
    LimitLearnt,
    RouteRecorded,
    RowsBuried,
    Slice,
    UsageRecorded,
)
from distilmq_broker.crash_points import CrashPoints
from distilmq_broker.ports import AnswerEntry, Clock, JobEntry, Payload, PlaceInSlices

CHECKPOINT_AFTER = 400
"""Commits between two checkpoints of the write-ahead log."""


class SqliteJournal:
    """See `ports.Journal`."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock,
        endpoint: str = "",
        power: bool = False,
        network: bool | None = None,
        rotate_at: int = ROTATE_AT,
        checkpoint_after: int = CHECKPOINT_AFTER,
        crash: CrashPoints | None = None,
    ) -> None:
        self.folder = folder
        self.path = folder / "ledger.db"
        self._clock = clock
        self._crash = crash or CrashPoints()
        self._statements: list[ledger_rows.Statement] = []
        """Not committed; the first `_executed` are in the open transaction."""
        self._executed = 0
        self._counts: dict[str, list[int]] = {}
        """Per step, batches and rows recorded since the last commit."""
        self._answered: dict[str, int] = {}
        """Steps that have recorded answers."""
        self._asked_in_jobs: set[str] = set()
        """Steps that have requests in batch jobs."""
        self._commits = 0
        self._checkpoint_after = checkpoint_after
        segments = folder / "segments"
        with ledger_errors(segments):
            segments.mkdir(mode=0o700, exist_ok=True)
        remove_unfinished(segments)
        self.connection, self._wal = open_ledger(self.path, power=power, network=network)
        self.boot = boot_id()
        with ledger_errors(self.path):
            known = self.connection.execute("SELECT id, path FROM segment").fetchall()
            self.epoch = self._count_epoch(endpoint)
        self.segments = Segments(
            segments,
            known={number: folder / path for number, path in known},
            rotate_at=rotate_at,
            durable=power,
            crash=self._crash,
        )
        self.records = Records(self.connection, self.segments, self.path)
        self._parts = PartReader(self.records)
        self._kept_rows = KeptRows(self.connection, self.segments, self.path)
        self._keeping: list[str] = []
        """Steps of which rows are kept."""
        self.count_answers()

    # ------------------------------------------------------------ writing

    def begin_large(self) -> LargePayload:
        """See `ports.Journal`."""
        return self.segments.begin_large()

    def append(self, fact: Fact, payload: Payload | None = None) -> None:
        """See `ports.Journal`. Of a buried row the payload is its None row and, as the second, its input."""
        if isinstance(payload, LargePayload):
            self._append_large(fact, payload)
            return
        now = self._clock.wall()
        payloads = [payload] if isinstance(payload, bytes) else list(cast("Sequence[bytes]", payload or ()))
        match fact:
            case BatchRecorded():
                place = self.segments.add(payloads[0])
                self._statements.extend(ledger_rows.recorded(fact, place, now))
                self._count(fact.step, fact.rows)
                if not fact.part:
                    self.records.remember(fact.step, fact.seq_no, fact.rows, place)
                self._forget_answers(fact)
            case RowsBuried():
                rows, *inputs = payloads
                place = self.segments.add(rows)
                self._statements.extend(ledger_rows.given_up(fact, BURIED, place, 1, now))
                self._statements.append(ledger_rows.buried_letter(fact, inputs[0] if inputs else b"", now))
                self._count(fact.step, 1)
            case BatchHalved():
                self._statements.extend(ledger_rows.given_up(fact, HALVED, ledger_rows.NOWHERE, 0, now))
            case DeathCounted():
                self._statements.append(ledger_rows.death(fact, now))
            case RouteRecorded():
                self._statements.append(ledger_rows.route(fact))
            case AnswerRecorded():
                self._statements.append(ledger_rows.answer(fact, self.segments.add(payloads[0])))
                self._answered[fact.step] = self._answered.get(fact.step, 0) + 1
            case UsageRecorded():
                self._statements.append(ledger_rows.usage(fact))
            case LimitLearnt():
                self._statements.append(ledger_rows.limit(fact))
            case JobPlanned():
                self._statements.extend(ledger_rows.planned(fact, now))
                self._asked_in_jobs.add(fact.step)
            case JobStarted() | JobEnded():
                self._statements.append(ledger_rows.job_news(fact))

    def commit(self) -> None:
        """See `ports.Journal`."""
        if not self._statements:
            return
        self._crash.reach("before_payload")
        self.segments.flush()
        self._crash.reach("before_commit")
        with ledger_errors(self.path):
            try:
                self._execute()
                self._execute_bookkeeping()
                self.connection.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        self._statements.clear()
        self._executed = 0
        self._counts.clear()
        self.segments.grown.clear()
        self._commits += 1
        if self._wal and self._commits % self._checkpoint_after == 0:
            self._checkpoint()

    def note_steps(self, steps: Sequence[StepSpec]) -> None:
        """Writes down the steps of the plan in their order: facts are replayed in it."""
        with self.writing() as connection:
            for ordinal, step in enumerate(steps):
                connection.execute(
                    "INSERT INTO step (name, ordinal, signature, fields) VALUES (?, ?, ?, ?) ON CONFLICT (name)"
                    " DO UPDATE SET ordinal = excluded.ordinal, signature = excluded.signature,"
                    " fields = excluded.fields",
                    (step.name, ordinal, step.signature, pack(step.signature_fields)),
                )

    def forget_steps(self, names: Sequence[str]) -> None:
        """Drops what is recorded of some steps, but not what it cost: they start anew. Their bytes stay."""
        with self.writing() as connection:
            for table in ("batch", "dead_letter", "answer", "cursor", "kept", "job", "job_request"):
                connection.executemany(f"DELETE FROM {table} WHERE step = ?", [(name,) for name in names])

    def outcome(self) -> str | None:
        """See `ports.Journal`."""
        with ledger_errors(self.path):
            found = self.connection.execute(
                "SELECT outcome FROM run WHERE outcome IS NOT NULL ORDER BY epoch DESC LIMIT 1"
            ).fetchone()
        return found[0] if found else None

    def doubt(self) -> None:
        """Has all segments looked through when the run is opened the next time: a damaged record was met."""
        with self.writing() as connection:
            connection.execute("UPDATE segment SET boot = ''")

    def count_answers(self) -> None:
        """Finds the steps that have recorded answers, kept rows, or requests in batch jobs."""
        self._keeping = self._kept_rows.steps()
        with ledger_errors(self.path):
            self._answered = dict(self.connection.execute("SELECT step, count(*) FROM answer GROUP BY step"))
            found = self.connection.execute("SELECT DISTINCT step FROM job_request")
            self._asked_in_jobs = {step for (step,) in found}

    def note_outcome(self, outcome: str) -> None:
        """Writes down how the run ended."""
        with self.writing() as connection:
            connection.execute("UPDATE run SET outcome = ? WHERE epoch = ?", (outcome, self.epoch))
            if outcome == "done":
                connection.execute("DELETE FROM kept")

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """A transaction of its own, behind everything appended before."""
        self.commit()
        with ledger_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        self.records.forget_places()

    # ------------------------------------------------------------ reading

    def facts(self) -> Iterator[Fact]:
        """See `ports.Journal`."""
        return self._read().facts()

    def payload(self, step: str, seq_no: SeqNo) -> bytes:
        """See `ports.Journal`."""
        return self._read().payload(step, seq_no)

    def pieces(self, step: str, seq_no: SeqNo, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """See `ports.Journal`."""
        return self._read().pieces(step, seq_no, start)

    def rows(self, slices: Iterable[Slice]) -> bytes:
        """See `ports.Journal`."""
        return self._read().rows(slices)

    def size(self, slices: Iterable[Slice]) -> int:
        """See `ports.Journal`."""
        records = self._read()
        return sum(map(records.size, slices))

    def part(self, slices: Sequence[Slice], at: PlaceInSlices, most: int) -> tuple[bytes, PlaceInSlices | None]:
        """See `ports.Journal`."""
        self._read()
        return self._parts.read(slices, at, most)

    def answers(self, step: str, slices: Iterable[Slice]) -> list[AnswerEntry]:
        """See `ports.Journal`."""
        return self._read().answers(step, slices) if step in self._answered else []

    def in_jobs(self, step: str, slices: Iterable[Slice]) -> list[JobEntry]:
        """See `ports.Journal`."""
        return self._read().in_jobs(step, slices) if step in self._asked_in_jobs else []

    def kept(self, step: str, branches: Sequence[Sequence[Slice]]) -> list[KeptRow]:
        """See `ports.Journal`."""
        if step not in self._keeping:
            return []
        records = self._read()
        return self._kept_rows.of(step, branches, [records.each_row(slices) for slices in branches])

    def batches(self, step: str, after: str = "") -> Iterator[tuple[SeqNo, int]]:
        """See `ports.Journal`."""
        return self._read().batches(step, after)

    def failures(self, step: str = "") -> Iterator[dict[str, object]]:
        """See `ports.Journal`."""
        return self._read().failures(step)

    def usage(self) -> Iterator[UsageRecorded]:
        """See `ports.Journal`."""
        return self._read().usage()

    def set_power(self, power: bool) -> None:
        """Whether what is committed must survive a power loss, as the plan says."""
        self.segments.durable = power
        if self._wal:
            with ledger_errors(self.path):
                self.connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")

    @property
    def empty(self) -> bool:
        """Whether nothing is recorded yet."""
        with ledger_errors(self.path):
            return self._read().connection.execute("SELECT 1 FROM batch LIMIT 1").fetchone() is None

    def recorded(self) -> int:
        """How many batches (or parts) are recorded, adopted ones included."""
        with ledger_errors(self.path):
            return self._read().connection.execute("SELECT coalesce(sum(batches), 0) FROM cursor").fetchone()[0]

    def close(self) -> None:
        """See `ports.Journal`."""
        try:
            with self.writing() as connection:
                connection.execute("UPDATE run SET closed = ? WHERE epoch = ?", (self._clock.wall(), self.epoch))
        finally:
            self.segments.close()
            with ledger_errors(self.path):
                self.connection.close()

    # ------------------------------------------------------------ parts

    def _append_large(self, fact: Fact, payload: LargePayload) -> None:
        if not isinstance(fact, BatchRecorded):
            raise TypeError(f"a large payload of {type(fact).__name__}")
        place = self.segments.add_large(payload)
        self._statements.extend(ledger_rows.recorded(fact, place, self._clock.wall(), payload.pieces))
        self._count(fact.step, fact.rows)
        self._forget_answers(fact)

    def _read(self) -> Records:
        if len(self._statements) > self._executed:
            with ledger_errors(self.path):
                try:
                    self._execute()
                except sqlite3.Error:
                    self._roll_back()
                    raise
        return self.records

    def _execute(self) -> None:
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN IMMEDIATE")
        execute = self.connection.execute
        for sql, parameters in self._statements[self._executed :]:
            execute(sql, parameters)
        self._executed = len(self._statements)

    def _execute_bookkeeping(self) -> None:
        for step, (batches, rows) in self._counts.items():
            self.connection.execute(
                "INSERT INTO cursor (step, batches, rows) VALUES (?, ?, ?) ON CONFLICT (step) DO UPDATE SET"
                " batches = batches + excluded.batches, rows = rows + excluded.rows",
                (step, batches, rows),
            )
        for segment, size in self.segments.grown.items():
            self.connection.execute(
                "INSERT INTO segment (id, path, size, boot) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET size = excluded.size, boot = excluded.boot",
                (segment, f"segments/{segment:06d}.seg", size, self.boot),
            )

    def _roll_back(self) -> None:
        # Some errors (a full disk among them) have rolled back already.
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self._executed = 0

    def _checkpoint(self) -> None:
        with self._crash.during("checkpoint"), suppress(sqlite3.OperationalError):
            # A checkpoint that finds the disk full or a reader at work is made later; nothing depends on it.
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _count(self, step: str, rows: int) -> None:
        counts = self._counts.setdefault(step, [0, 0])
        counts[0] += 1
        counts[1] += rows

    def _forget_answers(self, fact: BatchRecorded) -> None:
        """What was known of requests of a batch is of no use any more once it is recorded without a failed row."""
        known = {"answer": fact.step in self._answered, "job_request": fact.step in self._asked_in_jobs}
        tables = [table for table, has in known.items() if has]
        if known["answer"] and fact.failures:
            tables.remove("answer")
            self._statements.extend(ledger_rows.left_answers(fact))
        for table in tables:
            self._statements.extend(ledger_rows.forgotten(table, fact))

    def _count_epoch(self, endpoint: str) -> int:
        values = (socket.gethostname(), os.getpid(), endpoint, self.boot, self._clock.wall())
        found = self.connection.execute(
            "INSERT INTO run (host, pid, endpoint, boot, opened) VALUES (?, ?, ?, ?, ?) RETURNING epoch", values
        )
        return found.fetchone()[0]


def boot_id() -> str:
    """Names the time since this machine was started: what was only handed to the kernel survives within it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""

"""Taking over what another run has recorded: its rows of the ledger, and its segments under another name."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from distilmq.errors import JournalError
from distilmq.protocol.packing import pack, unpack
from distilmq.protocol.plan import Plan, decode_plan
from distilmq_broker.adapters.ledger import OPEN, ledger_errors, open_for_reading
from distilmq_broker.adapters.records import Records
from distilmq_broker.adapters.segments import Segments, sync_folder
from distilmq_broker.adapters.sqlite_journal import SqliteJournal

_BATCH_COLUMNS = (
    "seq_no, part, state, attempt, deaths, rows, taken, last, failed, inputs, span, segment, offset, length, crc,"
    " routes, worker, error, time, counts, pieces"
)
_INPUTS, _SPAN, _SEGMENT, _ROUTES = 9, 10, 11, 15
_ANSWER_COLUMNS = "source, source_row, key, occurrence, segment, offset, length, crc, lost"
_LETTER_COLUMNS = "seq_no, part, row, input, error, attempt, worker, time, answer, attempts, out"
_JOB_COLUMNS = "job, size, id, ended, time"
_JOB_REQUEST_COLUMNS = "source, source_row, key, occurrence, job, number, tries"
_KEPT_COLUMNS = "source, source_row, digest, segment, offset, length, crc, start, stop, failure"


class RecordedRun:
    """Another run's folder, read as it is at this moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.db"
        self.plan = _plan(folder)
        self._segments: Segments | None = None
        self.connection = open_for_reading(self.path)
        with ledger_errors(self.path):
            # One snapshot for everything that is read: the run may be going on.
            self.connection.execute("BEGIN")
            steps = self.connection.execute("SELECT name, signature, fields FROM step ORDER BY ordinal").fetchall()
            counts = self.connection.execute("SELECT step, rows FROM cursor").fetchall()
        self.signatures: dict[str, str] = {name: signature for name, signature, _ in steps}
        """Step name to signature."""
        self.fields: dict[str, dict[str, str]] = {name: unpack(fields) for name, _, fields in steps}
        """Step name to the digests its signature is made of."""
        self.rows: dict[str, int] = dict(counts)
        """Step name to recorded rows."""

    def close(self) -> None:
        """Lets go of the snapshot, and of the files that were read."""
        if self._segments is not None:
            self._segments.close()
        self.connection.close()

    def import_steps(
        self,
        names: Mapping[str, str],
        journal: SqliteJournal,
        *,
        rerouted: Collection[str] = (),
        also: Callable[[sqlite3.Connection, AdoptedSegments], None] = lambda target, segments: None,
    ) -> None:
        """Writes what is recorded of some steps into a journal that has nothing of them.

        Args:
            names: name of a step here to the name that the same step has there.
            journal: where to.
            rerouted: steps here whose batches come without the choices of their routing function: they are
                chosen there anew.
            also: what else belongs into the same transaction.

        Raises:
            JournalError: something cannot be read or written; then the journal is as it was.
        """
        with ledger_errors(self.path), journal.writing() as target:
            segments = AdoptedSegments(self, journal, target)
            rename = _renaming(names) if any(here != there for here, there in names.items()) else None
            for here, there in names.items():
                self._import_batches(here, there, target, segments, rename)
                if here in rerouted:
                    target.execute("UPDATE batch SET routes = NULL WHERE step = ?", (there,))
                self._import_others(here, there, target, segments)
                target.execute("UPDATE step SET adopted_from = ? WHERE name = ?", (str(self.folder), there))
            also(target, segments)
        journal.count_answers()

    def records(self) -> Records:
        """Its rows and dead letters."""
        numbers = [number for (number,) in self.connection.execute("SELECT id FROM segment")]
        known = {number: self.segment(number)[0] for number in numbers}
        self._segments = self._segments or Segments(self.folder / "segments", known=known)
        return Records(self.connection, self._segments, self.path)

    def segment(self, number: int) -> tuple[Path, int, str]:
        """File, committed bytes and boot id of one of its segments."""
        path, size, boot = self.connection.execute(
            "SELECT path, size, boot FROM segment WHERE id = ?", (number,)
        ).fetchone()
        return Path(os.path.normpath(self.folder / path)), size, boot

    def _import_batches(
        self, here: str, there: str, target: sqlite3.Connection, segments: AdoptedSegments, rename: _Renaming | None
    ) -> None:
        found = self.connection.execute(
            f"SELECT {_BATCH_COLUMNS} FROM batch WHERE step = ? AND state <> {OPEN}", (here,)
        )
        marks = ", ".join("?" * 22)
        target.executemany(
            f"INSERT INTO batch (step, {_BATCH_COLUMNS}) VALUES ({marks})", _moved(there, found, segments, rename)
        )
        chosen = self.connection.execute(
            f"SELECT seq_no, routes FROM batch WHERE step = ? AND state = {OPEN} AND routes IS NOT NULL", (here,)
        )
        target.executemany(
            "INSERT INTO batch (step, seq_no, part, state, attempt, deaths, routes) VALUES (?, ?, 0, 0, 0, 0, ?)",
            ((there, key, _renamed_routes(routes, rename)) for key, routes in chosen),
        )

    def _import_others(self, here: str, there: str, target: sqlite3.Connection, segments: AdoptedSegments) -> None:
        letters = self.connection.execute(f"SELECT {_LETTER_COLUMNS} FROM dead_letter WHERE step = ?", (here,))
        target.executemany(
            f"INSERT INTO dead_letter (step, {_LETTER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((there, *row) for row in letters),
        )
        answers = self.connection.execute(f"SELECT {_ANSWER_COLUMNS} FROM answer WHERE step = ?", (here,))
        target.executemany(
            f"INSERT INTO answer (step, {_ANSWER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((there, *row[:4], segments.here(row[4]), *row[5:]) for row in answers),
        )
        kept = self.connection.execute(f"SELECT {_KEPT_COLUMNS} FROM kept WHERE step = ?", (here,))
        target.executemany(
            f"INSERT INTO kept (step, {_KEPT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((there, *row[:3], segments.here(row[3]), *row[4:]) for row in kept),
        )
        for table, columns, marks in (
            ("job", _JOB_COLUMNS, "?, ?, ?, ?, ?, ?"),
            ("job_request", _JOB_REQUEST_COLUMNS, "?, ?, ?, ?, ?, ?, ?, ?"),
        ):
            found = self.connection.execute(f"SELECT {columns} FROM {table} WHERE step = ?", (here,))
            target.executemany(
                f"INSERT INTO {table} (step, {columns}) VALUES ({marks})", ((there, *row) for row in found)
            )
        counts = self.connection.execute("SELECT batches, rows FROM cursor WHERE step = ?", (here,)).fetchall()
        target.executemany(
            "INSERT INTO cursor (step, batches, rows) VALUES (?, ?, ?)", ((there, *row) for row in counts)
        )


class AdoptedSegments:
    """Their segments under our numbers, made ours by a hard link: they live on when the other run is removed."""

    def __init__(self, source: RecordedRun, journal: SqliteJournal, target: sqlite3.Connection) -> None:
        self._source = source
        self._journal = journal
        self._target = target
        self._numbers: dict[int, int] = {0: 0}

    def here(self, number: int) -> int:
        """Our number of their segment."""
        known = self._numbers.get(number)
        if known is not None:
            return known
        path, size, boot = self._source.segment(number)
        ours = self._journal.segments.next_number()
        place = _take(path, self._journal.segments.folder / f"adopted-{ours:06d}.seg", self._source.folder)
        self._journal.segments.adopt(ours, place)
        relative = os.path.relpath(place, self._journal.folder)
        self._target.execute(
            "INSERT INTO segment (id, path, size, boot, adopted) VALUES (?, ?, ?, ?, 1)", (ours, relative, size, boot)
        )
        self._numbers[number] = ours
        return ours


def _take(source: Path, target: Path, owner: Path) -> Path:
    try:
        target.unlink(missing_ok=True)
        os.link(source, target)
        sync_folder(target.parent)
    except FileNotFoundError as error:
        raise JournalError(f"{source} is gone") from error
    except OSError:
        # Another file system, or one without hard links: the other run is asked to stay.
        _ask_to_stay(owner, target)
        return source
    return target


def _ask_to_stay(owner: Path, target: Path) -> None:
    references = owner / "referenced_by"
    with ledger_errors(references):
        references.mkdir(mode=0o700, exist_ok=True)
        run = target.parent.parent
        (references / run.name).write_text(str(run))


_Renaming = Callable[[str], str]


def _renaming(names: Mapping[str, str]) -> _Renaming:
    return lambda name: names.get(name, name)


def _moved(
    step: str, found: Iterable[tuple[Any, ...]], segments: AdoptedSegments, rename: _Renaming | None
) -> Iterator[tuple[Any, ...]]:
    for row in found:
        moved = [step, *row]
        moved[1 + _SEGMENT] = segments.here(row[_SEGMENT])
        if rename is not None:
            moved[1 + _INPUTS] = pack(
                [[[rename(name), *rest] for name, *rest in slices] for slices in unpack(row[_INPUTS])]
            )
            moved[1 + _SPAN] = pack([[rename(fork), parts] for fork, parts in unpack(row[_SPAN])])
            moved[1 + _ROUTES] = _renamed_routes(row[_ROUTES], rename)
        yield tuple(moved)


def _renamed_routes(routes: bytes | None, rename: _Renaming | None) -> bytes | None:
    if routes is None or rename is None:
        return routes
    return pack([rename(name) for name in unpack(routes)])


def _plan(folder: Path) -> Plan:
    path = folder / "plan.msgpack"
    try:
        return decode_plan(path.read_bytes())
    except (OSError, ValueError) as error:
        raise JournalError(f"cannot read {path}: {error}") from error

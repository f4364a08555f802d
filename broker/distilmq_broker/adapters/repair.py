"""Finding payloads that did not survive, and forgetting the batches they belong to, so that they run again.

Killing a process never damages what was handed to the kernel, so segments are only looked through when the
machine was started anew since they were written, when a file is shorter than what was committed, or when a
damaged record was met. With a lost batch goes everything that was made from it, and what a generator gave
after it: a generator goes on from the number of rows it has given.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from distilmq.errors import JournalError
from distilmq.protocol.seq_no import from_sort_key, show, sort_key
from distilmq_broker.adapters.ledger import BURIED, DONE
from distilmq_broker.adapters.ledger_rows import placed_pieces, unpack_inputs
from distilmq_broker.adapters.segments import Place, Segments
from distilmq_broker.adapters.sqlite_journal import SqliteJournal

_FIRST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was found."""

    damage: tuple[str, ...]
    """The first damaged records, each with file and place."""
    damaged: int
    """Records that cannot be read."""
    dropped: tuple[tuple[str, int], ...]
    """Step and number of batches that will run again."""


def repair(journal: SqliteJournal) -> Repaired | None:
    """Looks through the segments that may have suffered, and forgets what was lost; None when nothing was.

    Raises:
        JournalError: the ledger cannot be read or written.
    """
    doubtful = _doubtful(journal)
    if not doubtful:
        return None
    damage, lost = _damaged_batches(journal, doubtful)
    answers = _damaged_answers(journal, doubtful)
    dropped: list[tuple[str, int]] = []
    with journal.writing() as connection:
        for step, keys in _all_lost(connection, lost).items():
            _drop(connection, step, keys)
            dropped.append((step, len(keys)))
        connection.executemany(
            "DELETE FROM answer WHERE step = ? AND source = ? AND source_row = ? AND key = ? AND occurrence = ?",
            answers,
        )
        for segment in doubtful:
            size = _size(journal.segments, segment)
            connection.execute("UPDATE segment SET boot = ?, size = ? WHERE id = ?", (journal.boot, size, segment))
    journal.count_answers()
    if not damage and not answers:
        return None
    return Repaired(tuple(damage[:_FIRST_NAMED]), len(damage) + len(answers), tuple(dropped))


def _doubtful(journal: SqliteJournal) -> list[int]:
    known = journal.connection.execute("SELECT id, size, boot FROM segment").fetchall()
    return [number for number, size, boot in known if boot != journal.boot or _size(journal.segments, number) < size]


def _size(segments: Segments, number: int) -> int:
    try:
        return segments.path(number).stat().st_size
    except FileNotFoundError:
        return 0


def _damaged_batches(journal: SqliteJournal, doubtful: list[int]) -> tuple[list[str], dict[str, set[str]]]:
    damage: list[str] = []
    lost: dict[str, set[str]] = {}
    found = journal.connection.execute(
        "SELECT step, seq_no, rows, pieces, segment, offset, length, crc FROM batch WHERE segment IN"
        f" ({_numbers(doubtful)}) ORDER BY segment, offset"
    )
    for step, key, rows, pieces, *place in found:
        places = [piece for _, piece in placed_pieces(Place(*place), rows, pieces)]
        problem = next((problem for piece in places if (problem := _problem(journal.segments, piece))), None)
        if problem is not None:
            damage.append(f"batch {show(from_sort_key(key))} of step {step!r}: {problem}")
            lost.setdefault(step, set()).add(key)
    return damage, lost


def _damaged_answers(journal: SqliteJournal, doubtful: list[int]) -> list[tuple[Any, ...]]:
    found = journal.connection.execute(
        "SELECT step, source, source_row, key, occurrence, segment, offset, length, crc FROM answer"
        f" WHERE segment IN ({_numbers(doubtful)})"
    )
    return [tuple(key) for *key, a, b, c, d in found if _problem(journal.segments, Place(a, b, c, d)) is not None]


def _problem(segments: Segments, place: Place) -> str | None:
    try:
        segments.read(place)
    except JournalError as error:
        return str(error)
    return None


def _all_lost(connection: sqlite3.Connection, lost: dict[str, set[str]]) -> dict[str, set[str]]:
    """What was lost with what was made from it, step by step from the top."""
    for (step,) in connection.execute("SELECT name FROM step ORDER BY ordinal").fetchall():
        first: str | None = None
        rows = connection.execute(
            "SELECT seq_no, inputs FROM batch WHERE step = ? AND inputs IS NOT NULL ORDER BY seq_no", (step,)
        ).fetchall()
        for key, inputs in rows:
            slices = [part for parts in unpack_inputs(inputs) for part in parts]
            made_by_generator = not slices and key in lost.get(step, ())
            if made_by_generator or any(_is_lost(part.step, part.seq_no, lost) for part in slices):
                first = key
                break
        if first is not None:
            # Where batches are cut across those of the step before, all later cuts depend on this one.
            lost.setdefault(step, set()).update(key for key, _ in rows if key >= first)
    return {step: keys for step, keys in lost.items() if keys}


def _is_lost(step: str, seq_no: tuple[int, ...], lost: dict[str, set[str]]) -> bool:
    keys = lost.get(step)
    return bool(keys) and sort_key(seq_no) in keys


def _drop(connection: sqlite3.Connection, step: str, keys: set[str]) -> None:
    for table in ("batch", "dead_letter"):
        connection.executemany(
            f"DELETE FROM {table} WHERE step = ? AND seq_no = ?", [(step, key) for key in sorted(keys)]
        )
    connection.execute("DELETE FROM cursor WHERE step = ?", (step,))
    connection.execute(
        "INSERT INTO cursor (step, batches, rows) SELECT step, count(*), sum(rows) FROM batch"
        f" WHERE step = ? AND state IN ({DONE}, {BURIED}) GROUP BY step",
        (step,),
    )


def _numbers(values: list[int]) -> str:
    return ", ".join(str(value) for value in values)

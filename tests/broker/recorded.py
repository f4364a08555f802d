"""Small builders of facts and payloads, and journals in folders of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distilmq.protocol.plan import StepSpec
from distilmq.protocol.rows import encode_rows
from distilmq.protocol.seq_no import SeqNo, number
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.adapters.system_clock import SystemClock
from distilmq_broker.core.facts import BatchRecorded, Slice

STEPS = (
    StepSpec(name="load", kind="generator", size=5, signature="sig-load", signature_fields={"data": "1"}),
    StepSpec(
        name="ask",
        kind="normal",
        size=5,
        predecessors=("load",),
        outputs=("answer",),
        signature="sig-ask",
        signature_fields={"prompt": "1"},
    ),
    StepSpec(
        name="keep",
        kind="normal",
        size=5,
        predecessors=("ask",),
        signature="sig-keep",
        signature_fields={"columns": "1"},
    ),
)


@contextmanager
def journal_in(folder: Path, **options: object) -> Iterator[SqliteJournal]:
    """A journal with the three steps, closed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = SqliteJournal(folder, clock=SystemClock(), **options)  # type: ignore[arg-type]
    try:
        journal.note_steps(STEPS)
        yield journal
    finally:
        journal.close()


def rows_of(step: str, place: int, count: int = 5) -> list[dict[str, object]]:
    """Rows that say where they come from."""
    return [{"step": step, "batch": place, "row": row, "text": "x" * 100} for row in range(count)]


def payload_of(step: str, place: int, count: int = 5) -> bytes:
    """`rows_of` as a payload."""
    return encode_rows(rows_of(step, place, count))


def recorded(step: str, place: int, *, before: str | None = None, rows: int = 5, **fields: object) -> BatchRecorded:
    """The batch that took the whole batch of the same number of the step before, or of a generator nothing."""
    seq_no: SeqNo = number(place)
    inputs = ((Slice(before, seq_no, 0, 5),),) if before else ()
    values: dict[str, object] = {
        "part": 0,
        "inputs": inputs,
        "span": (),
        "rows": rows,
        "taken": 5 if before else 0,
        "attempt": 1,
        "worker": "w1",
    }
    return BatchRecorded(step, seq_no, **{**values, **fields})  # type: ignore[arg-type]


def record_chain(journal: SqliteJournal, batches: int) -> None:
    """Records so many batches of all three steps."""
    before = {"load": None, "ask": "load", "keep": "ask"}
    for step, predecessor in before.items():
        for place in range(batches):
            journal.append(recorded(step, place, before=predecessor), payload_of(step, place))
        journal.commit()


def places_of(journal: SqliteJournal, step: str) -> list[int]:
    """Numbers of the step's recorded batches."""
    return [seq_no[0] if seq_no else 0 for seq_no, _ in journal.batches(step)]

"""What a step says about the rows of one call of `process`, beside the rows that it gives.

Whoever runs `process` puts a `Remarks` into `current_remarks` and reads it afterwards. A step need not say
anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

from distilmq.models.requests.answers import current_answers


@dataclass(frozen=True, slots=True)
class FailedAnswer:
    """A row that comes out, though what the model said about it is of no use."""

    error: Exception
    answer: str | None


@dataclass(slots=True)
class Remarks:
    """About one call of `process`; rows are named by their place in the list that it was given."""

    row: int = 0
    """The row in hand."""
    failed: dict[int, FailedAnswer] = field(default_factory=dict[int, FailedAnswer])
    counts: list[int] | None = None
    """How many rows came out for each row; None where the step does not say."""


current_remarks: ContextVar[Remarks | None] = ContextVar("current_remarks", default=None)
"""Of the call in hand; None where nobody listens."""


def remark_row(row: int) -> None:
    """The row at this place is in hand."""
    if (remarks := current_remarks.get()) is not None:
        remarks.row = row


def remark_failure(error: Exception, answer: str | None, generation: int) -> None:
    """The answer for the row in hand is of no use; the first such answer of a row counts.

    Args:
        error: why it is of no use.
        answer: what the model said.
        generation: which of those that the model gave for the row.
    """
    if (remarks := current_remarks.get()) is not None:
        remarks.failed.setdefault(remarks.row, FailedAnswer(error, answer))
        if (book := current_answers.get()) is not None:
            book.spoil(remarks.row, generation)


def remark_counts(counts: Iterable[int]) -> None:
    """So many rows came out for each row."""
    if (remarks := current_remarks.get()) is not None:
        remarks.counts = list(counts)

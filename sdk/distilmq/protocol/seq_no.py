"""The number of a batch: where its first row stands, so it follows from the input and never from arrival.

A generator's batches are numbered `(0,)`, `(1,)`, `(2,)`, … in the order it yields them. Row `i` of the
output of batch `s` stands at position `s + (i,)`, and a batch of the next step takes the position of its
first row as its own number. Trailing zeros are dropped, so along a chain of steps that take whole batches
batch `(12,)` stays batch `(12,)`, and the second half of it, cut at row 25, is `(12, 25)`.

All batches of one step have the same depth once the zeros are put back, so numbers are unique within a
step and compare like tuples: the order of numbers is the order of rows. Whoever runs the pipeline again,
or resumes it, cuts the same rows into the same numbers, whatever order the results came in.
"""

from __future__ import annotations

SeqNo = tuple[int, ...]
"""A batch number, or the position of a row, without trailing zeros; `()` stands for zero."""

_WIDTH = 10


def number(*parts: int) -> SeqNo:
    """Builds a number from its parts, dropping trailing zeros.

    >>> number(12, 0, 0)
    (12,)
    """
    end = len(parts)
    while end and parts[end - 1] == 0:
        end -= 1
    return tuple(parts[:end])


def position(batch: SeqNo, depth: int, row: int) -> SeqNo:
    """The position of a row in the output of a batch.

    Args:
        batch: number of the batch that gave the row.
        depth: how many parts the numbers of that batch's step have at most.
        row: place of the row in the batch's output, from 0.
    """
    if row == 0:
        return batch
    return batch + (0,) * (depth - len(batch)) + (row,)


def sort_key(seq_no: SeqNo) -> str:
    """A text whose order is the order of numbers, for the ledger.

    >>> sort_key((12,)) < sort_key((12, 0, 5)) < sort_key((12, 3)) < sort_key((13,))
    True
    """
    return ".".join(f"{part:0{_WIDTH}d}" for part in seq_no)


def from_sort_key(text: str) -> SeqNo:
    """The number that `sort_key` was made from."""
    return tuple(int(part) for part in text.split(".")) if text else ()


def show(seq_no: SeqNo) -> str:
    """How a person reads it: `12`, or `12.0.5`."""
    return ".".join(str(part) for part in seq_no) if seq_no else "0"

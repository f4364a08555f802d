"""Finding the rows of a batch that make a step raise, by calling it with halves: each half once.

A step that knows which rows failed says so (`RowsFailedError`): it is called again with what lies between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from distilmq.errors import RowsFailedError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """Rows `start` to `stop` of a batch: what the step gave for them, or why it raised for the one row."""

    start: int
    stop: int
    given: T | None
    error: BaseException | None = None


def in_halves(
    call: Callable[[int, int], T], rows: int, *, passes: Callable[[BaseException], bool], divide: bool = True
) -> list[Piece[T]]:
    """Calls with all rows and, where that raises, with the halves, until the failing rows are alone.

    Args:
        call: takes the first row and the one behind the last.
        rows: how many there are.
        passes: says of an exception that it is not a row's fault: it is raised again.
        divide: False for a step that must not be called a second time: all rows fail.
    """
    pieces: list[Piece[T]] = []
    waiting = [(0, rows)]
    while waiting:
        start, stop = waiting.pop()
        try:
            pieces.append(Piece(start, stop, call(start, stop)))
        except BaseException as error:  # the user's code: whatever it raises is about its rows
            if passes(error):
                raise
            if divide and (failures := _named(error, start, stop)):
                pieces += [Piece(row, row + 1, None, reason) for row, reason in failures.items()]
                waiting += _between(failures, start, stop)
            elif divide and stop - start > 1:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
            else:
                pieces += [Piece(row, row + 1, None, error) for row in range(start, stop)]
    return sorted(pieces, key=lambda piece: piece.start)


def _named(error: BaseException, start: int, stop: int) -> dict[int, Exception]:
    """The rows of the batch that the step says have failed, each with its reason."""
    if not isinstance(error, RowsFailedError):
        return {}
    named = {start + place: reason for place, reason in error.failures.items()}
    return {row: reason for row, reason in sorted(named.items()) if start <= row < stop}


def _between(rows: Iterable[int], start: int, stop: int) -> list[tuple[int, int]]:
    """The spans that are left of `start` to `stop` without these rows, which are in order; the last one first."""
    edges = [start - 1, *rows, stop]
    spans = [(before + 1, after) for before, after in pairwise(edges) if before + 1 < after]
    return spans[::-1]

"""Finding the rows of a batch that make a step raise, by calling it with halves: each half once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

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
    # The later half lies below the earlier one, so pieces come out in the order of rows.
    waiting = [(0, rows)]
    while waiting:
        start, stop = waiting.pop()
        try:
            pieces.append(Piece(start, stop, call(start, stop)))
        except BaseException as error:  # noqa: BLE001  # the user's code: whatever it raises is about its rows
            if passes(error):
                raise
            if divide and stop - start > 1:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
            else:
                pieces += [Piece(row, row + 1, None, error) for row in range(start, stop)]
    return pieces

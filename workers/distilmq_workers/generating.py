"""A generator's batches, one after the other: it is kept between them, and begun anew where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Row = dict[str, Any]
Given = tuple[list[Row], bool]


class Generating:
    """One generator in use.

    Args:
        begin: gives an iterator over (rows, last) that goes on behind so many rows.
    """

    def __init__(self, begin: Callable[[int], Iterator[Given]]) -> None:
        self._begin = begin
        self._iterator: Iterator[Given] | None = None
        self._next = -1
        """The number of the batch that the iterator gives next."""
        self._over = False

    def take(self, number: int, offset: int) -> Given:
        """The rows of a batch, and whether it is the last.

        Args:
            number: of the batch, from 0.
            offset: rows recorded so far; it counts when this is not the batch after the one taken before.
        """
        if self._iterator is None or number != self._next:
            self._iterator = iter(self._begin(offset))
            self._over = False
        self._next = number + 1
        if self._over:
            return [], True
        try:
            rows, last = next(self._iterator)
        except StopIteration:
            rows, last = [], True
        except BaseException:
            # A generator that raised is over: asked again, it begins where the records end.
            self._iterator = None
            raise
        self._over = last
        return rows, last

"""A generator's batches, one after the other: it is kept between them, and begun anew where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from distilmq_workers.passing_over import Given, Row, passed_over


class Generating:
    """One generator in use.

    Args:
        begin: gives an iterator over (rows, last) that goes on behind so many rows.
        heeds: whether it does; of one that does not, rows that it gives again are passed over.
    """

    def __init__(self, begin: Callable[[int], Iterator[Given]], *, heeds: bool = True) -> None:
        self._begin = begin
        self._heeds = heeds
        self._iterator: Iterator[Given] | None = None
        self._next = -1
        """The number of the batch that the iterator gives next."""
        self._over = False

    def take(self, number: int, offset: int, is_first: Callable[[Row], bool] | None = None) -> Given:
        """The rows of a batch, and whether it is the last.

        Args:
            number: of the batch, from 0.
            offset: rows recorded so far; it counts when this is not the batch after the one taken before.
            is_first: whether a row is the one that was recorded first; None where that is not known.
        """
        if self._iterator is None or number != self._next:
            self._iterator = iter(self._begin(offset))
            if offset and is_first is not None and not self._heeds:
                self._iterator = passed_over(self._iterator, offset, is_first)
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

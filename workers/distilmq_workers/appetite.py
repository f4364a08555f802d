"""How many batches a step process wants to hold: so many that its models always have rows to ask about."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_ROWS, MOST_ROWS = 4, 16
"""Rows in hand for each request that may be out at once: most of them wait, answered, for the slowest of their batch.
Where that takes so many times as long as the usual answer, fewer would leave the model idle until it comes. The first
number is what it begins with, and each answer adds a row: where only failures come, the run can be paused in time."""


@dataclass(slots=True)
class Appetite:
    """What the models of one process could take on."""

    demand: tuple[int, int] | None = None
    """Requests that they may have out at once, and those that wait; None while none was made."""
    answers: int = 0
    """What they have answered so far: a model that answers nothing gets no more rows than it began with."""
    said: int = 0
    """Batches that the coordinator was last told of; 0 while it was told nothing."""

    def news(self, *, size: int, running: int, lanes: int) -> int | None:
        """The batches it wants to hold, where that is another number than was said last.

        Args:
            size: rows of a batch.
            running: batches in hand.
            lanes: most batches at a time.
        """
        if self.demand is None or lanes == 1:
            return None
        limit, unsent = self.demand
        wanted = max(1, min(running + _more(limit, unsent, size), self._most(limit, size), lanes))
        if wanted == self.said:
            return None
        self.said = wanted
        return wanted

    def _most(self, limit: int, size: int) -> int:
        rows = min(FIRST_ROWS * limit + self.answers, MOST_ROWS * limit)
        return max(2, rows // size)


def _more(limit: int, unsent: int, size: int) -> int:
    """As many batches as bring the requests that wait up to those that may be out at once."""
    return max(0, limit - unsent + size - 1) // size

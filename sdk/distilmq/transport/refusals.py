"""Counting what was refused, and telling the log without letting a flood fill it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

TOLD_EACH = 5
"""Refusals for one reason that are told one by one, in each interval."""
INTERVAL = 10.0
"""Seconds; of the others of the interval, one line says how many they were."""


class Refusals:
    """What was refused, by reason.

    Args:
        tell: gets the reason, how often it was in all, and what is known of this one; at most `TOLD_EACH` times for
            one reason in each interval.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        tell: Callable[[str, int, str], None] = lambda reason, count, detail: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Of each reason, how often since the start."""
        self._tell = tell
        self._clock = clock
        self._until = 0.0
        self._told: Counter[str] = Counter()

    def count(self, reason: str, detail: str = "") -> None:
        """One more; the first ones of an interval are told."""
        now = self._clock()
        if now >= self._until:
            self._begin_interval(now)
        self.counts[reason] += 1
        self._told[reason] += 1
        if self._told[reason] <= TOLD_EACH:
            self._tell(reason, self.counts[reason], detail)

    def _begin_interval(self, now: float) -> None:
        for reason, count in self._told.items():
            if count > TOLD_EACH:
                self._tell(reason, self.counts[reason], f"{count - TOLD_EACH} more were not told one by one")
        self._told.clear()
        self._until = now + INTERVAL

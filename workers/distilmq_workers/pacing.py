"""How soon a step process that died is started again."""

from __future__ import annotations

from dataclasses import dataclass

QUICK_DEATH = 0.5
"""Seconds: a process that ends sooner with an error could not even start, and is started again more and more
slowly. One that dies of a batch lives longer, and its place is taken at once."""
QUICK_DEATHS_ALLOWED = 3
LONGEST_PAUSE = 2.0


@dataclass(slots=True)
class Pacing:
    """What dies as soon as it is started is started more and more slowly; everything else at once."""

    start_after: float = 0.0
    """The next one is not started before."""
    _quick_deaths: int = 0

    def ended(self, lived: float, code: int, now: float) -> None:
        """A process ended."""
        if code == 0 or lived >= QUICK_DEATH:
            self._quick_deaths = 0
            return
        self._quick_deaths += 1
        if self._quick_deaths > QUICK_DEATHS_ALLOWED:
            pause = 0.1 * 2.0 ** (self._quick_deaths - QUICK_DEATHS_ALLOWED)
            self.start_after = now + min(LONGEST_PAUSE, pause)

"""A clock that only goes when a test turns it."""

from __future__ import annotations


class ManualClock:
    """Meets the coordinator's `Clock` port.

    Args:
        monotonic: seconds from which it starts.
        wall: seconds since the epoch from which it starts.
    """

    def __init__(self, monotonic: float = 0.0, wall: float = 1_800_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        """Seconds, for deadlines."""
        return self._monotonic

    def wall(self) -> float:
        """Seconds since the epoch, for what is recorded."""
        return self._wall

    def advance(self, seconds: float) -> float:
        """Turns the clock on; gives the new monotonic time."""
        self._monotonic += seconds
        self._wall += seconds
        return self._monotonic

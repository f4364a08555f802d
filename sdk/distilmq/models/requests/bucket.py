"""One limit per minute, as a bucket (a "token bucket", Turner, "New directions in communications", 1986).

It holds at most a second's worth and is filled so slowly that no sixty seconds ever see more than the limit: what may
come at once, or is taken on credit by a request that is larger than the bucket, is taken off the minute.
"""

from __future__ import annotations

import math

MINUTE = 60.0


class Bucket:
    """Invariant: what is taken in any sixty seconds in which the limit stays is never more than the limit.

    Args:
        limit: units in sixty seconds; 0 for none at all.
        now: of the beginning.
        full: whether it begins full, and not empty.
    """

    def __init__(self, limit: float, now: float, *, full: bool = True) -> None:
        self._at = now
        self._level = math.inf if full else 0.0
        self._largest = 0.0
        """Taken at once in the last minute."""
        self._largest_at = now
        self._fit(limit)

    def set_limit(self, limit: float, now: float) -> None:
        """Another limit from here on; what came in until now came in under the one before."""
        self._fill(now)
        self._fit(limit)

    def wait(self, now: float, units: float = 1.0) -> float:
        """Seconds until so many units may be taken: they must be there, or the bucket be full."""
        self._fill(now)
        missing = min(max(units, 0.0), self._capacity) - self._level
        if self.limit <= 0:
            return math.inf
        return max(0.0, missing / self._per_second)

    def take(self, units: float, now: float) -> None:
        """Takes units; more than there are make a debt that the next ones wait for."""
        self._fill(now)
        self._level -= units
        if units >= self._largest or now - self._largest_at > MINUTE:
            self._largest, self._largest_at = units, now
            self._fit(self.limit)

    def correct(self, units: float) -> None:
        """Gives back what was taken too much; takes more where it is negative."""
        self._level = min(self._capacity, self._level + units)

    def _fit(self, limit: float) -> None:
        self.limit = max(0.0, limit)
        self._capacity = max(1.0, limit / MINUTE) if limit > 0 else 0.0
        self._per_second = max(limit - max(self._capacity, self._largest), limit * 0.5) / MINUTE
        self._level = min(self._level, self._capacity)

    def _fill(self, now: float) -> None:
        self._level = min(self._capacity, self._level + max(0.0, now - self._at) * self._per_second)
        self._at = max(self._at, now)

"""When it is told where the user's code is with a batch that takes long."""

from __future__ import annotations

from dataclasses import dataclass

MOST_APART = 3600.0
"""Seconds between two reports, at most."""
LAST_LOOK = 0.9
"""Share of `batch_timeout` after which it is told for the last time: when the time is over, the process is killed and
cannot tell any more."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a step may be at a batch before it is told."""

    stall_after: float = MOST_APART
    """Seconds until the first report."""
    batch_timeout: float | None = None
    """Seconds after which its process is killed."""

    @property
    def last_look_after(self) -> float | None:
        """Seconds at a batch after which it is told for the last time."""
        return None if self.batch_timeout is None else self.batch_timeout * LAST_LOOK

    def look_at(self, began: float, now: float) -> float:
        """When to tell next, of a batch that was begun at `began`."""
        # Each report twice as late as the one before: a stall is said, not repeated all day.
        later = now + min(max(now - began, self.stall_after), MOST_APART)
        if self.last_look_after is None:
            return later
        last = began + self.last_look_after
        return last if now < last < later else later

"""Noticing user code that does not return, and saying where it hangs."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass

from distilmq.protocol.messages import Lease, Note


@dataclass(slots=True)
class StallWatch:
    """Watches one thread; tells of a stall after `after` seconds, and again each time twice as late."""

    session: str
    thread: int
    after: float = 60.0
    _lease: Lease | None = None
    _since: float = 0.0
    _next: float = 0.0

    def began(self, lease: Lease, now: float) -> None:
        """`process` was called with a batch."""
        self._lease = lease
        self._since = now
        self._next = now + self.after

    def ended(self) -> None:
        """`process` returned."""
        self._lease = None

    def deadline(self) -> float | None:
        """When to look next; None while nothing runs."""
        return None if self._lease is None else self._next

    def look(self, now: float) -> Note | None:
        """A note with the thread's stack if the step has not returned for too long."""
        if self._lease is None or now < self._next:
            return None
        waited = now - self._since
        self._next = now + waited
        return Note(
            session=self.session,
            step=self._lease.step,
            level="warning",
            event="stalled",
            text=f"`process` has not returned for {waited:.0f} s:\n{self._stack()}",
            lease=self._lease,
        )

    def _stack(self) -> str:
        frame = sys._current_frames().get(self.thread)  # pyright: ignore[reportPrivateUsage]  # the documented way
        return "".join(traceback.format_stack(frame)) if frame is not None else "(the thread has ended)"

"""Places where a test may end the coordinator as a crash would, to show that nothing recorded is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

CrashPoint = Literal[
    "before_payload", "before_commit", "before_ack", "before_send", "rotation", "checkpoint", "after_part"
]
"""In the order of effects: before the payload is written, between payload and ledger commit, between commit and
`Ack`, between `Ack` and the next `Send`; between two segments; within a checkpoint of the ledger; behind a part of a
large batch."""

POINTS: tuple[CrashPoint, ...] = (
    "before_payload",
    "before_commit",
    "before_ack",
    "before_send",
    "rotation",
    "checkpoint",
    "after_part",
)


class CrashPoints:
    """Nothing happens at any point: what every real run has."""

    def reach(self, point: CrashPoint) -> None:
        """Says that the point was reached."""

    def during(self, point: CrashPoint) -> AbstractContextManager[None]:
        """Wraps what cannot be interrupted from within."""
        return nullcontext()


class CrashAt(CrashPoints):
    """SIGKILL to this process when the point is reached for the n-th time."""

    def __init__(self, point: CrashPoint, times: int) -> None:
        self.point = point
        self.left = times

    def reach(self, point: CrashPoint) -> None:
        """Kills this process when it is its time."""
        if point != self.point:
            return
        self.left -= 1
        if self.left == 0:
            # What was sent before this point is to arrive: the transport's own thread needs a moment for it.
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)

    def during(self, point: CrashPoint) -> AbstractContextManager[None]:
        """Kills this process from another thread while the caller is at work."""
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGKILL), daemon=True).start()
        return nullcontext()


def parse_crash_at(text: str) -> CrashPoints:
    """The crash points of `point` or `point:n`; of an empty text, none.

    Raises:
        ValueError: there is no such point.
    """
    if not text:
        return CrashPoints()
    name, _, times = text.partition(":")
    for point in POINTS:
        if point == name:
            return CrashAt(point, int(times or 1))
    raise ValueError(f"no crash point {name!r}; there are {', '.join(POINTS)}")

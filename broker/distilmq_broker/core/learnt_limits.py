"""What the processes that ask one account have learnt of its limits, put together.

Each goes on learning for its share by itself: requests at once by additive increase and multiplicative decrease, the
rate by what refusals let through. The sum of what they come to is what the account takes, as with flows of TCP that
share a line (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989). So each
says from what share it began and to what it has come, and the difference is added to what is known of the account.
"""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages import Loan
from distilmq_broker.core.facts import LimitLearnt

_LEAST_RATE = 1.0
_OTHER = 0.1
"""Share by which a limit differs before that is written down."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one process says."""

    learnt: Loan
    """To what it has come."""
    share: Loan
    """From what it began, where it was told; what it said last, where it said something since."""
    settled: bool
    """Whether it has seen a sign that more requests at once bring nothing."""
    part: float
    """Its part of all that is wanted of the account."""
    beside: int
    """Requests at once that the others made use of when they asked last."""
    more: int
    """Requests at once that it makes use of now, and did not when it asked last; below nothing by how many it has come
    below those of which it made use then."""


class LearntLimits:
    """Of one account.

    Invariants: nothing is known to be less than one; places are never more than was told; `settled` stays.
    """

    def __init__(self) -> None:
        self.places: float | None = None
        """Requests at once; while not `settled`, what was reached so far."""
        self.requests: float | None = None
        """In a minute."""
        self.settled = False
        """Whether `places` is a limit."""
        self._written: LimitLearnt | None = None

    @property
    def limits(self) -> dict[str, float | None]:
        """What there is to be shared out."""
        return {"places": self.places if self.settled else None, "requests": self.requests}

    def know(self, fact: LimitLearnt) -> None:
        """Takes over what was learnt before."""
        self.places, self.requests, self.settled = fact.places, fact.requests, fact.settled
        self._written = fact

    def learn(self, lesson: Lesson, *, most: float | None) -> None:
        """Takes in what a process says; `most` is what was told of requests at once."""
        self._learn_places(lesson, most)
        self._learn_rate(lesson)

    def beginning(self, value: int, beside: int) -> int | None:
        """Requests at once with which a process begins while nothing is settled: what was reached before, if more.

        Args:
            value: with how many it would begin by itself.
            beside: to how many the others have come.
        """
        if self.settled or self.places is None or self.places - beside <= value:
            return None
        return int(self.places) - beside

    def news(self, account: bytes) -> LimitLearnt | None:
        """What is known, where that is quite another thing than what was given before."""
        now = LimitLearnt(account, self.places, self.requests, self.settled)
        before = self._written or LimitLearnt(account, None, None, settled=False)
        same = now.settled == before.settled and not any(
            _differs(one, other) for one, other in ((now.places, before.places), (now.requests, before.requests))
        )
        if same:
            return None
        self._written = now
        return now

    def _learn_places(self, lesson: Lesson, most: float | None) -> None:
        value, began = lesson.learnt.places, lesson.share.places
        if value is None:
            return
        if not (self.settled or lesson.settled):
            self.places = max(self.places or 0.0, float(value + lesson.beside))
        elif not self.settled:
            self.settled, self.places = True, float(value + lesson.beside)
        elif self.places is not None:
            # One that was never told a share went on by itself since it was counted.
            self.places += value - began if began is not None else lesson.more
        if self.places is not None:
            self.places = max(1.0, self.places if most is None else min(self.places, most))

    def _learn_rate(self, lesson: Lesson) -> None:
        rate, began = lesson.learnt.requests, lesson.share.requests
        if rate is None:
            return
        if self.requests is None:
            self.requests = rate / lesson.part
        elif began is not None:
            self.requests += rate - began
        self.requests = max(_LEAST_RATE, self.requests)


def _differs(now: float | None, before: float | None) -> bool:
    if now is None or before is None:
        return now is not before
    return abs(now - before) > before * _OTHER

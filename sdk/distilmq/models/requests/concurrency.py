"""How many requests may be out at once: learnt from what comes back, without asking anybody.

Additive increase, multiplicative decrease, as TCP does it (Jacobson, "Congestion Avoidance and Control", 1988): the
limit grows by one for each answer until the provider refuses for the first time, or until more requests at once bring
no more answers in the same time, which is how servers that queue instead of refusing (vLLM, SGLang) say that they are
full. From there on it grows by one for as many answers as it is wide.

Pure: what happened goes in with the time, and `value` is the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

START = 32
CEILING = 256
CUT = 0.7
"""What is left of the limit after a refusal."""
PAUSE = 5.0
"""Seconds without growth after a fault of the provider's own."""
GAIN = 1.1
"""Less than this many times the answers, for `WIDER` times the requests at once, is no gain."""
WIDER = 1.5
STEADY_ROOM = 1.25
"""What is kept of the limit up to which there was a gain."""
SHARE = "its share of what is known of the account"
"""Why a limit changes that others learn as well."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that went out; `burst` names the cuts that had been made by then."""

    burst: int
    full: bool
    """Whether it took the last free place, or others waited behind it."""


@dataclass(frozen=True, slots=True)
class Change:
    """The limit is another one."""

    before: int
    after: int
    reason: str


class AdaptiveLimit:
    """The limit of one model.

    Invariants: `1 <= value <= ceiling`; a burst of refusals cuts once; the limit grows only while it is used.

    Args:
        start: the limit before anything is known.
        ceiling: it never grows beyond this.
    """

    def __init__(self, start: int = START, ceiling: int = CEILING) -> None:
        self.ceiling = max(1, ceiling)
        self.value = max(1, min(start, self.ceiling))
        self._fast = True
        self._burst = 0
        self._no_growth_until = 0.0
        self._answers = 0
        """Since the limit last grew, while it grows slowly."""
        self._window = Window()
        self._best: Window | None = None

    @property
    def settled(self) -> bool:
        """Whether a refusal or a full server was seen, here or by others: it grows slowly from there on."""
        return not self._fast

    def take_share(self, places: int, *, settled: bool) -> Change | None:
        """So many are ours of what all who ask have learnt together; whether a refusal or a full server was seen."""
        if settled and self._fast:
            self._fast = False
            self._answers = 0
        if places != self.value:
            self._window = Window()
        return self._set(places, SHARE)

    def queued(self, in_flight: int, *, running: int, waiting: int) -> Change | None:
        """The server says how many requests it works on and how many wait there: more at once bring no more answers.

        Args:
            in_flight: how many of them are ours.
            running: whoever's.
            waiting: whoever's.
        """
        if waiting <= 0:
            return None
        self._fast = False
        ours = in_flight * running / (running + waiting)
        # A short queue there keeps it busy until our next request comes.
        return self._set(min(self.value, math.ceil(ours * STEADY_ROOM)), "requests wait in the server's own queue")

    def admit(self, in_flight: int, *, waiting: bool = False) -> Admission:
        """A request goes out, beside `in_flight` others; `waiting` tells whether more wait behind it."""
        return Admission(self._burst, full=waiting or in_flight + 1 >= self.value)

    def succeeded(self, admission: Admission, now: float) -> Change | None:
        """An answer came."""
        if not admission.full:
            # What is not used says nothing about what could be.
            self._window = Window()
            return None
        self._window.count(now, self.value)
        if self._fast and self._window.complete and (change := self._compared()) is not None:
            return change
        if now < self._no_growth_until or self.value >= self.ceiling:
            return None
        self._answers += 1
        if not self._fast and self._answers < self.value:
            return None
        self._answers = 0
        return self._set(self.value + 1, "answers come while all places are taken")

    def refused(self, admission: Admission, now: float, *, places: int | None = None) -> Change | None:
        """The provider refused because of too many requests; those admitted before the last cut say nothing new.

        Args:
            admission: of the request.
            now: of the refusal.
            places: how many could be out, if not as many as the limit.
        """
        if admission.burst != self._burst:
            return None
        self._burst += 1
        self._fast = False
        self._answers = 0
        used = self.value if places is None else min(places, self.value)
        return self._set(max(1, int(used * CUT)), "the provider refused requests: too many")

    def disturbed(self, now: float) -> bool:
        """A fault of the provider's own, or no answer in time: no growth for a while. Tells whether it could grow."""
        grew = now >= self._no_growth_until and self.value < self.ceiling
        self._no_growth_until = now + PAUSE
        self._window = Window()
        return grew

    def _compared(self) -> Change | None:
        """Compares the answers per second of this window with those of the best narrower one."""
        window, self._window = self._window, Window()
        best = self._best
        if best is None or window.rate > best.rate * GAIN:
            self._best = window
            return None
        if window.narrowest < best.narrowest * WIDER:
            return None
        self._fast = False
        return self._set(min(self.value, int(best.widest * STEADY_ROOM)), "more requests at once bring no more answers")

    def _set(self, value: int, reason: str) -> Change | None:
        before, self.value = self.value, max(1, min(value, self.ceiling))
        return None if self.value == before else Change(before, self.value, reason)


class Window:
    """The answers of a stretch of time in which all places were taken."""

    def __init__(self) -> None:
        self.narrowest = 0
        """The limit at its beginning."""
        self.widest = 0
        """The limit at its end."""
        self._began = 0.0
        self._now = 0.0
        self._answers = 0

    def count(self, now: float, limit: int) -> None:
        """An answer came under a limit."""
        if not self._answers:
            self._began = now
            self.narrowest = limit
        self._now = now
        self._answers += 1
        self.widest = max(self.widest, limit)

    @property
    def complete(self) -> bool:
        """Whether it holds enough to compare: twice the limit, so that one slow answer weighs little."""
        return self._answers >= 2 * self.narrowest and self._now > self._began

    @property
    def rate(self) -> float:
        """Answers per second."""
        return (self._answers - 1) / max(1e-9, self._now - self._began)

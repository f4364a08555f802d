"""The gate in front of one model: requests wait here, and nowhere else, until they may go out.

A request that waits for another try holds no place. Those that wait are let through in the order in which they
came, as far as the places (`AdaptiveLimit`) and the pace (`Pace`) allow. It belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

from distilmq.errors import DrainedError
from distilmq.models.requests.concurrency import PAUSE, SHARE, AdaptiveLimit, Admission, Change
from distilmq.models.requests.demand import Demand
from distilmq.models.requests.loan import NO_LIMIT, Lent, Loan
from distilmq.models.requests.rate_headers import as_openais
from distilmq.models.requests.rates import Cost, Limits, Pace

GLANCE = 0.1
"""Seconds between two looks at whether those that wait still want to go."""
DRAINS = "the worker drains: this request was not sent"
LOUD = 1.5
"""A limit that grew by this since it was last told, or shrank by it, is told again."""
LONG = 10.0
"""Seconds: that nothing is sent for so long, because the provider refuses, is told."""

current_limiter: ContextVar[Limiter | None] = ContextVar("current_limiter", default=None)
"""Of the request that is being sent."""

Clock = Callable[[], float]
Draining = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that was let through."""

    admission: Admission
    thought: Cost
    """What it takes, as was thought before any was answered."""
    expected: Cost
    """What it takes, by what those before it took."""
    sent_at: float


@dataclass(slots=True, eq=False)
class _Waiting:
    ready: asyncio.Future[Turn]
    draining: Draining
    estimate: Cost


class Limiter:
    """Lets requests through, and learns from what becomes of them.

    Args:
        limit: how many may be out at once.
        pace: how fast they may go.
        name: of the model and its address, for the log.
        log: told each change of the limit, with its reason.
        demand: told what waits.
        clock: seconds.
    """

    def __init__(
        self,
        limit: AdaptiveLimit,
        pace: Pace,
        *,
        name: str,
        log: logging.Logger,
        demand: Demand,
        clock: Clock = time.monotonic,
    ) -> None:
        self.in_flight = 0
        self._limit = limit
        self._pace = pace
        self._name = name
        self._log = log
        self._demand = demand
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._lent: int | None = None
        """Places of the account's that are ours; None for all."""
        self._lent_until: float | None = None
        """When that is over; None for never."""
        self._call_for_loan: Callable[[bool], None] = _nobody
        self._timer: asyncio.TimerHandle | None = None
        self._told = limit.value
        self._paced = pace.requests_per_minute
        """The rate that was last logged."""
        self._blocked = 0.0
        """Until when nothing is sent, as was last logged."""
        self._width = 0
        self._widen()

    @property
    def places(self) -> int:
        """How many may be out at once."""
        return self._limit.value if self._lent is None else min(self._limit.value, self._lent)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def waits(self, requests: int = 1) -> None:
        """So many requests are on their way to `enter`."""
        self._demand.wait_for(requests)

    async def enter(self, draining: Draining, estimate: Cost) -> Turn:
        """Waits until a request that was announced by `waits` may go out.

        Raises:
            DrainedError: the worker drains, so it may not.
        """
        if draining():
            self._demand.wait_for(-1)
            raise DrainedError(DRAINS)
        entry = _Waiting(asyncio.get_running_loop().create_future(), draining, estimate)
        self._waiting.append(entry)
        self._pump()
        try:
            return await entry.ready
        except asyncio.CancelledError:
            if entry.ready.done() and not entry.ready.cancelled() and entry.ready.exception() is None:
                self.leave(entry.ready.result())
            else:
                self._pump()  # which passes it over
            raise

    def leave(self, turn: Turn) -> None:
        """The request is over; what it says was told before."""
        self.in_flight -= 1
        self._pump()

    def succeeded(self, turn: Turn, actual: Cost) -> None:
        """An answer came."""
        self._pace.answered(turn.thought, turn.expected, actual, turn.sent_at)
        self._changed(self._limit.succeeded(turn.admission, self._clock()))

    def refused(self, turn: Turn, retry_after: float | None) -> None:
        """The provider refused because of a limit of its own."""
        now = self._clock()
        learnt = self._pace.refused(turn.expected, retry_after, turn.sent_at, now)
        if learnt is not None:
            self._log.info("'%s' takes about %.0f requests per minute, as its refusals show.", self._name, learnt)
            self._paced = learnt
        asked = "the provider asks for that"
        self._tell_block(
            now, asked if retry_after is not None else "the provider refuses everything: too many requests"
        )
        self._changed(self._limit.refused(turn.admission, now, places=self.places or None))

    def disturbed(self, turn: Turn) -> None:
        """The provider failed, or gave no answer in time."""
        if self._limit.disturbed(self._clock()):
            self._log.info("'%s' had a fault: its limit does not grow for %.0f s.", self._name, PAUSE)

    def heard(self, headers: Mapping[str, str]) -> None:
        """What the headers of an answer say about limits."""
        now = self._clock()
        news = self._pace.heard(headers, now)
        self._tell_block(now, "its headers say that no request is left")
        if news is not None:
            self._paced = news.requests
            self._log.info("'%s' takes %.0f requests per minute, as its headers say.", self._name, news.requests)
            self._call_for_loan(True)

    def queued(self, *, running: int, waiting: int) -> None:
        """How many requests the server works on, and how many wait there."""
        self._changed(self._limit.queued(self.in_flight, running=running, waiting=waiting))

    # ---------------------------------------------------------------- shares

    @property
    def told(self) -> Limits:
        """The rates of the whole account, as the user or the provider tells them."""
        return self._pace.told

    @property
    def learnt(self) -> Loan:
        """What was learnt from answers and refusals."""
        return Loan(self._limit.value, Limits(requests=self._pace.learnt))

    @property
    def settled(self) -> bool:
        """Whether there was a sign that more requests at once bring nothing."""
        return self._limit.settled

    def borrow_by(self, call: Callable[[bool], None]) -> None:
        """Calls when something waits that our share does not let go; with True when it should be looked at at once."""
        self._call_for_loan = call

    def stop(self) -> None:
        """Nothing may go out until the next loan."""
        self._lent, self._lent_until = 0, None
        self._pace.stop(self._clock())
        self._widen()

    def lend(self, lent: Lent) -> None:
        """What this process may take of the account's limits from here on; no place at all stops it."""
        now = self._clock()
        self._lent = 0 if lent.loan.empty else lent.loan.places
        self._lent_until = None if lent.loan == NO_LIMIT else lent.until
        self._pace.lend(lent.loan.limits, lent.learnt.limits.requests, now, full=lent.full)
        if lent.learnt.places is not None:
            self._changed(self._limit.take_share(lent.learnt.places, settled=lent.settled))
        self._tell_pace(SHARE)
        self._widen()
        self._pump()

    def go_on(self, learnt: Loan) -> None:
        """From a share of what is known to what has been learnt since it was asked for."""
        if learnt.places is not None:
            self._changed(self._limit.take_share(learnt.places, settled=self.settled))
        self._pace.go_on(learnt.limits.requests, self._clock())
        self._widen()

    def close(self) -> None:
        """Nothing goes out any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._demand.widen(-self._width)

    def _widen(self) -> None:
        before, self._width = self._width, self.places
        self._demand.widen(self._width - before)

    def _pump(self) -> None:
        """Lets through what may go, and comes back for the rest."""
        if self._lent_until is not None and self._clock() >= self._lent_until:
            self.stop()  # this process was frozen, or had no time
        while self._waiting and self.in_flight < self.places:
            now = self._clock()
            entry = self._waiting[0]
            expected = self._pace.expect(entry.estimate)
            if (wait := self._pace.wait(now, expected)) > 0:
                self._wait_for_pace(wait)
                return
            self._waiting.popleft()
            if entry.ready.done() or entry.draining():
                self._turn_away(entry)
                continue
            self._pace.sent(expected, now)
            # Those that only the pace holds back say nothing about how many may be out at once.
            behind = bool(self._waiting) and self._pace.wait(now, expected) <= 0
            turn = Turn(self._limit.admit(self.in_flight, waiting=behind), entry.estimate, expected, now)
            self.in_flight += 1
            entry.ready.set_result(turn)
            self._demand.sent()
        if self._waiting:
            self._call_for_loan(not self.places)
            self._come_back(GLANCE)

    def _wait_for_pace(self, wait: float) -> None:
        self._tell_pace("nothing was refused for a while")
        self._call_for_loan(self._pace.dry)
        self._come_back(wait)

    def _come_back(self, wait: float) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(wait, GLANCE), self._glance)

    def _glance(self) -> None:
        self._timer = None
        leaving = [entry for entry in self._waiting if entry.draining()]
        if leaving:
            self._waiting = deque(entry for entry in self._waiting if entry not in leaving)
        for entry in leaving:
            self._turn_away(entry)
        self._pump()

    def _turn_away(self, entry: _Waiting) -> None:
        self._demand.wait_for(-1)
        if not entry.ready.done():
            entry.ready.set_exception(DrainedError(DRAINS))

    def _changed(self, change: Change | None) -> None:
        if change is None:
            return
        self._widen()
        after, shared = change.after, change.reason == SHARE
        told = (after < change.before and not shared) or _loud(after, self._told) or after == self._limit.ceiling
        text = "'%s' may be asked %d times at once, before %d: %s."
        level = _level(change.reason) if told else logging.DEBUG
        self._log.log(level, text, self._name, after, self._told if told else change.before, change.reason)
        if told:
            self._told = after

    def _tell_pace(self, reason: str) -> None:
        """Logs a rate that is quite another than the last one; one that is nothing for a moment is not."""
        rate = self._pace.requests_per_minute
        if rate and (self._paced is None or _loud(rate, self._paced)):
            before = "as often as it answered" if self._paced is None else f"{self._paced:.0f} times"
            text = "'%s' is asked %.0f times a minute, before %s: %s."
            self._log.log(_level(reason), text, self._name, rate, before, reason)
            self._paced = rate

    def _tell_block(self, now: float, why: str) -> None:
        """Logs that nothing is sent for long, and why; once, however many were refused together."""
        until = self._pace.blocked_until
        if until - now >= LONG and until - self._blocked >= LONG:
            self._log.info("'%s' is not asked for %.0f s: %s.", self._name, until - now, why)
            self._blocked = until


def _level(reason: str) -> int:
    """Shares change from second to second, and say nothing about the account."""
    return logging.DEBUG if reason == SHARE else logging.INFO


def _loud(value: float, told: float) -> bool:
    """Whether a limit is so different from what was told last that it is told again."""
    return value >= told * LOUD or value * LOUD <= told


def _nobody(urgent: bool) -> None:
    """Nobody lends."""


def hear(headers: Mapping[str, str] | None) -> None:
    """Tells the limiter of the request at hand what the provider's headers say; header names are lower case."""
    limiter = current_limiter.get()
    if limiter is not None and headers is not None:
        limiter.heard(as_openais(headers, datetime.now(UTC)))

"""A model keeps within what is lent to it, whoever lends: the holder here is the coordinator's own, in this process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from distilmq.errors import DrainedError
from distilmq.models.requests.concurrency import AdaptiveLimit
from distilmq.models.requests.demand import Demand
from distilmq.models.requests.event_loop import EventLoopThread
from distilmq.models.requests.lending import Borrower, LoanDesk
from distilmq.models.requests.limiter import Limiter, Turn
from distilmq.models.requests.rates import NOTHING, Limits, Pace
from distilmq.protocol.messages import Borrow
from distilmq_broker.core.accounts import Accounts
from distilmq_broker.translation import loan_asked
from distilmq_workers.loans import LoanOffice
from tests.waiting import until

ACCOUNT = b"account"


@dataclass
class Holder:
    """The coordinator's accounts, behind the desk of a process."""

    accounts: Accounts = field(default_factory=lambda: Accounts(cautious=False))
    desk: LoanDesk = field(default_factory=LoanDesk)
    there: bool = True
    asked: list[Borrow] = field(default_factory=list[Borrow])

    def __post_init__(self) -> None:
        self.office = LoanOffice("session", self.desk, self.answer)

    def answer(self, borrow: Borrow) -> None:
        self.asked.append(borrow)
        if not self.there:
            return
        self.office.lend(self.accounts.asked(loan_asked(borrow, borrow.session), time.monotonic()))


@dataclass
class Model:
    """What stands in front of a model: a limiter that borrows."""

    limiter: Limiter
    borrower: Borrower
    loop: EventLoopThread

    def ask(self, count: int, takes: float = 3600.0) -> None:
        """So many requests wait from here on, each behind another one until the model is closed."""
        for _ in range(count):
            self.loop.submit(self._ask(takes))

    def refuse(self, turn: Turn) -> None:
        """The provider refuses a request."""
        self.loop.run(self._refuse(turn))

    def enter(self) -> Turn:
        """One more, that goes out."""
        self.limiter.waits()
        return self.loop.submit(self._enter()).result(10)

    async def _ask(self, takes: float) -> None:
        while True:
            self.limiter.waits()
            turn = await self._enter()
            await asyncio.sleep(takes)
            self.limiter.leave(turn)

    async def _enter(self) -> Turn:
        return await self.limiter.enter(lambda: False, NOTHING)

    async def _refuse(self, turn: Turn) -> None:
        self.limiter.refused(turn, None)


@contextmanager
def model(holder: Holder, places: int | None = None, limits: Limits | None = None) -> Iterator[Model]:
    loop = EventLoopThread("lending")
    limiter = Limiter(
        AdaptiveLimit() if places is None else AdaptiveLimit(places, places),
        Pace(limits or Limits(), time.monotonic()),
        name="m",
        log=logging.getLogger("distilmq.tests.lending"),
        demand=Demand(),
    )
    borrower = Borrower(ACCOUNT, places, limiter, holder.desk, loop.loop)
    try:
        yield Model(limiter, borrower, loop)
    finally:
        borrower.close()
        limiter.close()
        loop.close()


def test_two_models_of_one_account_in_one_process_share_it() -> None:
    holder = Holder()
    with model(holder, places=16) as one, model(holder, places=16) as other:
        one.ask(100, takes=0.05)
        other.ask(100, takes=0.05)
        until(lambda: one.limiter.places == other.limiter.places == 8)

        until(lambda: one.limiter.in_flight + other.limiter.in_flight >= 16)

    assert {borrow.borrower for borrow in holder.asked} == {0, 1}


def test_nothing_that_is_told_is_sent_while_nobody_lends() -> None:
    holder = Holder(there=False)
    with model(holder, places=16) as one:
        one.ask(3)
        until(lambda: len(holder.asked) >= 3)

        assert one.limiter.in_flight == 0
        holder.there = True
        until(lambda: one.limiter.in_flight == 3)


def test_what_nobody_told_is_sent_after_a_while_all_the_same() -> None:
    holder = Holder(there=False)
    with model(holder) as one:
        one.ask(3)

        until(lambda: one.limiter.in_flight == 3)


def test_a_refusal_of_one_model_holds_back_the_other() -> None:
    holder = Holder()
    with model(holder) as one, model(holder) as other:
        turn = one.enter()
        one.ask(60, takes=0.05)
        other.ask(60, takes=0.05)
        until(lambda: one.limiter.in_flight == other.limiter.in_flight == 32)

        one.refuse(turn)

        until(lambda: other.limiter.settled and 22 + 30 <= one.limiter.places + other.limiter.places <= 22 + 32)


def test_what_headers_tell_one_model_holds_for_the_other_at_once() -> None:
    holder = Holder()
    with model(holder) as one, model(holder) as other:
        one.ask(40)
        other.ask(40)
        until(lambda: one.limiter.in_flight == other.limiter.in_flight == 32)

        one.loop.loop.call_soon_threadsafe(one.limiter.heard, {"x-ratelimit-limit-requests": "600"})

        until(lambda: _rates(holder) == (600.0, 600.0))


def _rates(holder: Holder) -> tuple[float | None, ...]:
    """What both were lent in the end makes up the whole."""
    told = [borrow.told.requests for borrow in holder.asked[-4:]]
    held = [borrow.held.requests if borrow.held else None for borrow in holder.asked[-2:]]
    whole = sum(rate or 0.0 for rate in held)
    return (max(rate or 0.0 for rate in told), whole)


def test_those_that_wait_are_let_go_when_it_is_closed() -> None:
    holder = Holder(there=False)
    with model(holder, places=1) as one:
        one.limiter.waits()
        waiting = one.loop.submit(one.limiter.enter(lambda: True, NOTHING))

        with pytest.raises(DrainedError):
            waiting.result(10)

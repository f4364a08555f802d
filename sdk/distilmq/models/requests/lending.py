"""A share of an account's limits, lent for a few seconds at a time by whoever holds the account.

Limits are the account's: two replicas that each kept to them would together take twice as much. So each model borrows
its share from the holder (the coordinator) and asks again long before the loan is over; what it does not renew goes
back by itself, also when its process has died. Outside a run nobody lends, and all of it is there.

What is told binds: without a loan nothing is sent. What is learnt from answers and refusals does not: each goes on
learning for its share, says to what it has come, and the holder adds up the differences.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count

from distilmq.models.requests.limiter import Limiter
from distilmq.models.requests.loan import NO_LIMIT, Application, Lent, Loan
from distilmq.models.requests.sayings import Sayings

RENEW = 1.0
"""Seconds between two applications."""
SOONEST = 0.05
"""The same where something waits that may not go, or where there is news of the account."""
LESS = 0.9
"""A share that has shrunk to this part is told to be taken note of at once: others wait for the rest."""
PATIENCE = 5.0
"""Seconds that a model whose limits nobody told waits for its first loan."""

Apply = Callable[[Application], None]
Take = Callable[[Lent], None]


class LoanDesk:
    """Where models of this process apply, and where loans come in."""

    def __init__(self) -> None:
        self._apply: Apply | None = None
        self._takers: dict[tuple[bytes, int], Take] = {}
        self._numbers = count()

    @property
    def lends(self) -> bool:
        """Whether there is a holder."""
        return self._apply is not None

    def open(self, apply: Apply | None) -> None:
        """There is a holder from here on (or, with None, no more)."""
        self._apply = apply

    def join(self, account: bytes, take: Take) -> int:
        """Loans for one model of an account go to `take`, on whatever thread they come in; gives the model's number."""
        number = next(self._numbers)
        self._takers[account, number] = take
        return number

    def leave(self, account: bytes, number: int) -> None:
        """No more loans, please."""
        self._takers.pop((account, number), None)

    def apply(self, application: Application) -> None:
        """Asks the holder."""
        if self._apply is not None:
            self._apply(application)

    def lend(self, account: bytes, number: int, lent: Lent) -> None:
        """A loan came in."""
        if (take := self._takers.get((account, number))) is not None:
            take(lent)


desk = LoanDesk()
"""Of this process."""


class Borrower:
    """Keeps a limiter within what is lent to it. It lives on the limiter's event loop.

    Args:
        account: whose limits they are.
        places: requests at once that the user told for the whole account.
        limiter: gets what is lent, and nothing before.
        desk: where to ask.
        loop: of the limiter.
    """

    def __init__(
        self, account: bytes, places: int | None, limiter: Limiter, desk: LoanDesk, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._account = account
        self._places = places
        self._limiter = limiter
        self._desk = desk
        self._loop = loop
        self._held: Loan | None = None
        self._heard: float | None = None
        """When it asked for that."""
        self._learnt: Loan | None = None
        """What it was lent of what all have learnt."""
        self._until = time.monotonic() + PATIENCE
        """Of the loan; before the first, of the patience with who lends."""
        self._wanted = 0
        """What it asked for last."""
        self._share = NO_LIMIT
        self._sayings = Sayings()
        self._asked = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._number = desk.join(account, self._take)
        loop.call_soon_threadsafe(self._begin)

    def close(self) -> None:
        """Asks no more, and gives back what it has."""
        self._closed = True
        self._desk.leave(self._account, self._number)
        self._desk.apply(self._application(time.monotonic(), wanted=0, out=0, leaving=True))
        if self._timer is not None:
            self._timer.cancel()

    @property
    def _told(self) -> Loan:
        return Loan(self._places, self._limiter.told)

    def _begin(self) -> None:
        self._limiter.borrow_by(self._hurry)
        self._limiter.stop()
        self._renew()

    def _renew(self) -> None:
        if self._closed:
            return
        now = time.monotonic()
        if now >= self._until:
            self._run_out(now)
        out = self._limiter.in_flight
        self._wanted = out + self._limiter.waiting
        self._asked = now
        self._sayings.say(now, self._limiter.learnt)
        self._desk.apply(self._application(now, wanted=self._wanted, out=out))
        self._come_back(RENEW)

    def _application(self, now: float, *, wanted: int, out: int, leaving: bool = False) -> Application:
        return Application(
            account=self._account,
            borrower=self._number,
            told=self._told,
            wanted=wanted,
            out=out,
            held=self._held,
            asked=now,
            learnt=self._limiter.learnt,
            share=self._share,
            settled=self._limiter.settled,
            leaving=leaving,
            heard=self._heard,
        )

    def _run_out(self, now: float) -> None:
        """The time of the last loan is over, and there is no other."""
        self._held = None
        if self._told != NO_LIMIT:
            self._limiter.stop()
        else:
            # What was learnt is no promise to anyone: it goes on by itself.
            self._limiter.lend(Lent(NO_LIMIT, now))

    def _hurry(self, urgent: bool) -> None:
        """Asks again before its time, where much more waits than when it asked, or nothing may go."""
        wanted = self._limiter.in_flight + self._limiter.waiting
        if not self._closed and (urgent or wanted > 2 * self._wanted):
            self._come_back(max(0.0, self._asked + SOONEST - time.monotonic()))

    def _come_back(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(wait, self._renew)

    def _take(self, lent: Lent) -> None:
        self._loop.call_soon_threadsafe(self._taken, lent)

    def _taken(self, lent: Lent) -> None:
        if self._closed or lent.until <= time.monotonic():
            return
        less = _is_less(lent.loan, self._held) or _is_less(lent.learnt, self._learnt)
        self._learnt = lent.learnt
        self._held, self._heard, self._until = lent.loan, lent.asked, lent.until
        onward = self._sayings.answered(lent.asked, lent.learnt, self._limiter.learnt)
        self._limiter.lend(lent)
        if lent.learnt != NO_LIMIT:
            self._share = self._limiter.learnt
            self._limiter.go_on(onward)
        if less:
            self._hurry(True)  # others wait for what is left of it


def _is_less(loan: Loan, before: Loan | None) -> bool:
    """Whether it is so much less that others can do something with the rest."""
    if before is None:
        return False
    pairs = zip(loan.values, before.values, strict=True)
    return any(now is not None and then and now <= then * LESS for now, then in pairs)

"""A share of an account's limits, lent for a few seconds at a time by whoever holds the account.

Limits are the account's: two replicas that each kept to them would together take twice as much. So a model with
told limits borrows its share from the holder (the coordinator) and asks again long before the loan is over; what it
does not renew goes back by itself, also when its process has died. Outside a run nobody lends, and all of it is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from distilmq.models.requests.limiter import Limiter
from distilmq.models.requests.rates import UNLIMITED, Limits

RENEW = 1.0
"""Seconds between two applications."""


@dataclass(frozen=True, slots=True)
class Loan:
    """Limits, or a share of them; None where there is no limit."""

    places: int | None = None
    """Requests at once."""
    limits: Limits = UNLIMITED

    @property
    def empty(self) -> bool:
        """Whether nothing may be sent by it."""
        rates = (self.limits.requests, self.limits.input_tokens, self.limits.output_tokens)
        return self.places == 0 or any(rate is not None and rate <= 0 for rate in rates)


@dataclass(frozen=True, slots=True)
class Application:
    """What a model asks the holder for."""

    account: bytes
    told: Loan
    """The limits of the whole account, as the user told them."""
    wanted: int
    """Requests that are out or wait."""
    out: int
    held: Loan | None
    """What it still has."""
    asked: float
    """When, by this process's clock; it comes back with the loan."""


Apply = Callable[[Application], None]
Take = Callable[[Loan, float], None]
"""Takes a loan, and the time until which it holds."""


class LoanDesk:
    """Where models of this process apply, and where loans come in."""

    def __init__(self) -> None:
        self._apply: Apply | None = None
        self._takers: dict[bytes, list[Take]] = {}

    @property
    def lends(self) -> bool:
        """Whether there is a holder."""
        return self._apply is not None

    def open(self, apply: Apply | None) -> None:
        """There is a holder from here on (or, with None, no more)."""
        self._apply = apply

    def join(self, account: bytes, take: Take) -> None:
        """Loans for the account go to `take`, on whatever thread they come in."""
        self._takers.setdefault(account, []).append(take)

    def leave(self, account: bytes, take: Take) -> None:
        """No more loans, please."""
        self._takers.get(account, []).remove(take)

    def apply(self, application: Application) -> None:
        """Asks the holder."""
        if self._apply is not None:
            self._apply(application)

    def lend(self, account: bytes, loan: Loan, until: float) -> None:
        """A loan came in."""
        for take in list(self._takers.get(account, [])):
            take(loan, until)


desk = LoanDesk()
"""Of this process."""


class Borrower:
    """Keeps a limiter within what is lent to it. It lives on the limiter's event loop.

    Args:
        account: whose limits they are.
        told: the limits of the whole account.
        limiter: gets what is lent, and nothing before.
        desk: where to ask.
        loop: of the limiter.
    """

    def __init__(
        self, account: bytes, told: Loan, limiter: Limiter, desk: LoanDesk, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._account = account
        self._told = told
        self._limiter = limiter
        self._desk = desk
        self._loop = loop
        self._held: Loan | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        desk.join(account, self._take)
        loop.call_soon_threadsafe(self._renew)

    def close(self) -> None:
        """Asks no more; what it has goes back when its time is over."""
        self._closed = True
        self._desk.leave(self._account, self._take)
        if self._timer is not None:
            self._timer.cancel()

    def _renew(self) -> None:
        if self._closed:
            return
        now = time.monotonic()
        if self._held is None or now >= self._until:
            self._held = None
            self._limiter.lend(Limits(), 0)
        out = self._limiter.in_flight
        wanted = out + self._limiter.waiting
        self._desk.apply(Application(self._account, self._told, wanted, out, self._held, now))
        self._timer = self._loop.call_later(RENEW, self._renew)

    def _take(self, loan: Loan, until: float) -> None:
        self._loop.call_soon_threadsafe(self._taken, loan, until)

    def _taken(self, loan: Loan, until: float) -> None:
        if self._closed or until <= time.monotonic():
            return
        self._held, self._until = loan, until
        self._limiter.lend(loan.limits, 0 if loan.empty else loan.places)

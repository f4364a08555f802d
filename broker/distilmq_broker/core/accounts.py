"""The limits of providers' accounts, held in one place and lent to step processes for a few seconds at a time.

Law: what is lent at any moment of what was told, and not yet over, is never more than the account's limit; also after
a restart, when nothing is lent for one time to live beyond what processes say that they still have. Loans are not
journaled. What is learnt of an account (see `learnt_limits`) is shared out by the same rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from distilmq.protocol.messages import Lend, Loan
from distilmq_broker.core.events import LoanAsked
from distilmq_broker.core.facts import LimitLearnt
from distilmq_broker.core.learnt_limits import LearntLimits, Lesson

LENT_FOR = 5.0
"""Seconds that a loan lives; who has it asks again every second."""

_RATES = ("requests", "input_tokens", "output_tokens")
_NOTHING = Loan(places=0, requests=0.0, input_tokens=0.0, output_tokens=0.0)

_BorrowerId = tuple[str, int]
"""A process, and which of its models."""


@dataclass(slots=True)
class _Borrower:
    """One model of a process that has, or had, a share."""

    told: Loan
    wanted: int = 0
    out: int = 0
    lent: Loan = _NOTHING
    learnt: Loan = _NOTHING
    """What was lent of what is learnt."""
    value: int = 0
    """Requests at once to which it has come by itself."""
    until: float = 0.0

    @property
    def weight(self) -> int:
        """How much it counts where something is shared out: one that wants nothing keeps a little to begin with."""
        return max(1, self.wanted)

    @property
    def used(self) -> int:
        """Requests at once that it makes use of."""
        return min(self.value, self.out)


@dataclass(slots=True)
class _Account:
    borrowers: dict[_BorrowerId, _Borrower] = field(default_factory=dict[_BorrowerId, _Borrower])
    learnt: LearntLimits = field(default_factory=LearntLimits)
    used: bool = False
    """Whether anything was lent before."""

    def admit(self, event: LoanAsked, now: float) -> tuple[_Borrower | None, _Borrower]:
        """Whoever asks, as it was before and as it is now; those whose loan is over are forgotten."""
        for name in [name for name, other in self.borrowers.items() if other.until <= now]:
            del self.borrowers[name]
        name = (event.session, event.borrower)
        before = self.borrowers.get(name)
        mine = self.borrowers[name] = _Borrower(
            event.told, max(0, event.wanted), max(0, event.out), value=max(0, event.learnt.places or 0)
        )
        return before, mine

    def beside(self, mine: _Borrower) -> list[_Borrower]:
        """The others."""
        return [other for other in self.borrowers.values() if other is not mine]

    def beginning(self, mine: _Borrower) -> Loan:
        """From what one that asks for the first time goes on learning."""
        places = self.learnt.beginning(mine.value, sum(other.value for other in self.beside(mine)))
        if places is None:
            return mine.learnt
        mine.value = places
        return mine.learnt.model_copy(update={"places": places})


class Accounts:
    """Lends of every account that processes name.

    Args:
        cautious: whether an earlier holder may have lent what is not over yet.
    """

    def __init__(self, *, cautious: bool) -> None:
        self._accounts: dict[bytes, _Account] = {}
        self._cautious = cautious
        self._cautious_until: float | None = None

    def know(self, fact: LimitLearnt) -> None:
        """Takes over what was learnt before."""
        self._account(fact.account).learnt.know(fact)

    def start(self, now: float) -> None:
        """The holder begins."""
        if self._cautious:
            self._cautious_until = now + LENT_FOR

    def asked(self, event: LoanAsked, now: float) -> Lend:
        """A process (no two have the same session) asks for its share: it is answered at once, if with nothing."""
        account = self._account(event.account)
        before, mine = account.admit(event, now)
        others = account.beside(mine)
        told = [event.told, *(other.told for other in others)]
        limits = {name: _least(getattr(each, name) for each in told) for name in (*_RATES, "places")}
        account.learnt.learn(_lesson(event, mine, before, others), most=limits["places"])
        mine.lent = _share(mine, others, limits, [other.lent for other in others])
        if self._cautious_until is not None and now < self._cautious_until:
            mine.lent = _at_most(mine.lent, event.held or _NOTHING)
        mine.learnt = _share(mine, others, account.learnt.limits, [other.learnt for other in others])
        mine.until = now + LENT_FOR
        full, account.used = not (self._cautious or account.used), True
        return Lend(
            account=event.account,
            borrower=event.borrower,
            loan=mine.lent,
            seconds=LENT_FOR,
            asked=event.asked,
            learnt=account.beginning(mine) if before is None else mine.learnt,
            settled=account.learnt.settled,
            full=full,
        )

    def known(self, account: bytes) -> LearntLimits:
        """What is known of an account by now."""
        return self._account(account).learnt

    def news(self, account: bytes) -> LimitLearnt | None:
        """What is known of an account, where that is quite another thing than at the last call."""
        return self.known(account).news(account)

    def _account(self, name: bytes) -> _Account:
        return self._accounts.setdefault(name, _Account())


def _share(mine: _Borrower, others: list[_Borrower], limits: dict[str, float | None], lent: list[Loan]) -> Loan:
    """What may be lent to one of the borrowers: its share by what it wants, as far as others leave it."""
    fair = mine.weight / (mine.weight + sum(other.weight for other in others))
    shares: dict[str, float | int | None] = {}
    for name in _RATES:
        total = limits.get(name)
        taken = sum(getattr(loan, name) or 0.0 for loan in lent)
        shares[name] = None if total is None else max(0.0, min(total * fair, total - taken))
    places = limits.get("places")
    if places is not None:
        # A place is taken until its request is over, whatever is lent by then.
        taken = sum(max(loan.places or 0, other.out) for loan, other in zip(lent, others, strict=True))
        part = math.ceil(places * fair) if mine.wanted else math.floor(places * fair)
        shares["places"] = max(0, min(part, int(places) - taken))
    return Loan.model_validate(shares)


def _lesson(event: LoanAsked, mine: _Borrower, before: _Borrower | None, others: list[_Borrower]) -> Lesson:
    return Lesson(
        learnt=event.learnt,
        share=event.share,
        settled=event.settled,
        part=mine.weight / (mine.weight + sum(other.weight for other in others if other.wanted)),
        beside=sum(other.used for other in others),
        more=mine.used - (0 if before is None else before.used),
    )


def _least(told: Iterable[float | int | None]) -> float | None:
    """The least of what was told."""
    return min((limit for limit in told if limit is not None), default=None)


def _at_most(loan: Loan, held: Loan) -> Loan:
    pairs = {name: (getattr(loan, name), getattr(held, name)) for name in (*_RATES, "places")}
    return Loan.model_validate(
        {name: None if one is None else min(one, other or 0) for name, (one, other) in pairs.items()}
    )

"""The limits of providers' accounts, held in one place and lent to step processes for a few seconds at a time.

Law: what is lent at any moment of what was told, and not yet over, is never more than the account's limit; also after
a restart, when nothing is lent for one time to live beyond what processes say that they still have. A rate comes back
when its loan is over. A place may be taken by a request that goes on, so it comes back when the process asks again or
is no more (or nobody has heard of it for a minute). Loans are not journaled. What is learnt of an account (see
`learnt_limits`) is shared out by the same rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from distilmq.protocol.messages import Lend, Loan
from distilmq_broker.core.borrowers import Borrower, Borrowers
from distilmq_broker.core.events import LoanAsked
from distilmq_broker.core.facts import LimitLearnt
from distilmq_broker.core.learnt_limits import LearntLimits, Lesson
from distilmq_broker.core.outstanding import Outstanding

LENT_FOR = 5.0
"""Seconds that a loan lives; who has it asks again every second."""

_RATES = ("requests", "input_tokens", "output_tokens")
_NOTHING = Loan(places=0, requests=0.0, input_tokens=0.0, output_tokens=0.0)


@dataclass(slots=True)
class _Account:
    borrowers: Borrowers = field(default_factory=Borrowers)
    learnt: LearntLimits = field(default_factory=LearntLimits)
    used: bool = False
    """Whether anything was lent before."""

    def beginning(self, mine: Borrower, learnt: Loan) -> Loan:
        """From what one that asks for the first time goes on learning."""
        places = self.learnt.beginning(mine.value, sum(other.value for other in self.borrowers.beside(mine)))
        if places is None:
            return learnt
        mine.value = places
        return learnt.model_copy(update={"places": places})


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
        """A process (no two have the same session) asks for its share, or leaves: it is answered at once."""
        account = self._account(event.account)
        before, mine = account.borrowers.admit(event, now)
        others = account.borrowers.beside(mine)
        told = [event.told, *(other.told for other in others)]
        limits = {name: _least(getattr(each, name) for each in told) for name in (*_RATES, "places")}
        account.learnt.learn(_lesson(event, mine, before, others), most=limits["places"])
        if event.leaving:
            account.borrowers.leave(event)
            return Lend(account=event.account, borrower=event.borrower, loan=_NOTHING, seconds=0.0, asked=event.asked)
        loan = _share(mine, others, limits, lambda other: other.lent)
        if self._cautious_until is not None and now < self._cautious_until:
            loan = _at_most(loan, event.held or _NOTHING)
        learnt = _share(mine, others, account.learnt.limits, lambda other: other.learnt)
        if before is None:
            learnt = account.beginning(mine, learnt)
        mine.lent.tell(event.asked, loan)
        mine.learnt.tell(event.asked, learnt)
        mine.until = now + LENT_FOR
        full, account.used = not (self._cautious or account.used), True
        return Lend(
            account=event.account,
            borrower=event.borrower,
            loan=loan,
            seconds=LENT_FOR,
            asked=event.asked,
            learnt=learnt,
            settled=account.learnt.settled,
            full=full,
        )

    def gone(self, session: str) -> None:
        """A process is no more: what it has comes back when its loan is over, its places too."""
        for account in self._accounts.values():
            account.borrowers.gone(session)

    def known(self, account: bytes) -> LearntLimits:
        """What is known of an account by now."""
        return self._account(account).learnt

    def news(self, account: bytes) -> LimitLearnt | None:
        """What is known of an account, where that is quite another thing than at the last call."""
        return self.known(account).news(account)

    def _account(self, name: bytes) -> _Account:
        return self._accounts.setdefault(name, _Account())


def _share(
    mine: Borrower,
    others: list[Borrower],
    limits: dict[str, float | None],
    loans: Callable[[Borrower], Outstanding],
) -> Loan:
    """What may be lent to one of the borrowers: its share by what it wants, as far as others leave it."""
    fair = mine.weight / (mine.weight + sum(other.weight for other in others))
    shares: dict[str, float | int | None] = {}
    for name in _RATES:
        total = limits.get(name)
        taken = sum(other.rate(loans(other), name) for other in others)
        shares[name] = None if total is None else max(0.0, min(total * fair, total - taken))
    places = limits.get("places")
    if places is not None:
        taken = sum(other.places(loans(other)) for other in others)
        part = math.ceil(places * fair) if mine.wanted else math.floor(places * fair)
        shares["places"] = max(0, min(part, int(places) - taken))
    return Loan.model_validate(shares)


def _lesson(event: LoanAsked, mine: Borrower, before: Borrower | None, others: list[Borrower]) -> Lesson:
    used = 0 if before is None else before.used
    beside = sum(other.used for other in others)
    fair = mine.weight / (mine.weight + sum(other.weight for other in others if other.wanted))
    return Lesson(
        learnt=event.learnt,
        share=event.share if mine.counted is None else mine.counted,
        settled=event.settled,
        part=min(fair, max(1, mine.used) / max(1, mine.used + beside)),
        beside=beside,
        more=max(0, mine.used - used) or min(0, mine.value - used),
    )


def _least(told: Iterable[float | int | None]) -> float | None:
    """The least of what was told."""
    return min((limit for limit in told if limit is not None), default=None)


def _at_most(loan: Loan, held: Loan) -> Loan:
    pairs = {name: (getattr(loan, name), getattr(held, name)) for name in (*_RATES, "places")}
    return Loan.model_validate(
        {name: None if one is None else min(one, other or 0) for name, (one, other) in pairs.items()}
    )

"""The limits of providers' accounts, held in one place and lent to step processes for a few seconds at a time.

Law: what is lent at any moment, and not yet over, is never more than the account's limit; also after a restart, when
nothing is lent for one time to live beyond what processes say that they still have. Loans are not journaled.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from distilmq.protocol.messages import Lend, Loan
from distilmq_broker.core.events import LoanAsked

LENT_FOR = 5.0
"""Seconds that a loan lives; who has it asks again every second."""

_RATES = ("requests", "input_tokens", "output_tokens")


@dataclass(slots=True)
class _Borrower:
    """One process that has, or had, a share."""

    told: Loan
    wanted: int = 0
    out: int = 0
    lent: Loan = field(default_factory=Loan)
    until: float = 0.0


class Accounts:
    """Lends of every account that processes name.

    Args:
        cautious: whether an earlier holder may have lent what is not over yet.
    """

    def __init__(self, *, cautious: bool) -> None:
        self._accounts: dict[bytes, dict[str, _Borrower]] = {}
        self._cautious = cautious
        self._cautious_until: float | None = None

    def start(self, now: float) -> None:
        """The holder begins."""
        if self._cautious:
            self._cautious_until = now + LENT_FOR

    def asked(self, event: LoanAsked, now: float) -> Lend:
        """A process (no two have the same session) asks for its share: it is answered at once, if with nothing."""
        borrowers = self._accounts.setdefault(event.account, {})
        for session in [session for session, other in borrowers.items() if other.until <= now]:
            del borrowers[session]
        mine = borrowers.setdefault(event.session, _Borrower(event.told))
        mine.told, mine.wanted, mine.out = event.told, max(0, event.wanted), max(0, event.out)
        careful = self._cautious_until is not None and now < self._cautious_until
        loan = _share(mine, borrowers)
        if careful:
            loan = _at_most(loan, event.held or Loan(places=0, requests=0, input_tokens=0, output_tokens=0))
        mine.lent, mine.until = loan, now + LENT_FOR
        return Lend(account=event.account, loan=loan, seconds=LENT_FOR, asked=event.asked)


def _share(mine: _Borrower, borrowers: dict[str, _Borrower]) -> Loan:
    """What may be lent to one of the borrowers: its share by what it wants, as far as others leave it."""
    others = [other for other in borrowers.values() if other is not mine]
    fair = max(1, mine.wanted) / sum(max(1, other.wanted) for other in borrowers.values())
    shares: dict[str, float | int | None] = {}
    for name in _RATES:
        total = _limit([getattr(other.told, name) for other in borrowers.values()])
        taken = sum(getattr(other.lent, name) or 0.0 for other in others)
        shares[name] = None if total is None else max(0.0, min(total * fair, total - taken))
    places = _limit([other.told.places for other in borrowers.values()])
    if places is not None:
        # A place is taken until its request is over, whatever is lent by then.
        taken = sum(max(other.lent.places or 0, other.out) for other in others)
        shares["places"] = max(0, min(max(1, int(places * fair)), int(places) - taken))
    return Loan.model_validate(shares)


def _limit(told: list[float | int | None]) -> float | None:
    """The least of what was told."""
    return min((limit for limit in told if limit is not None), default=None)


def _at_most(loan: Loan, held: Loan) -> Loan:
    pairs = {name: (getattr(loan, name), getattr(held, name)) for name in (*_RATES, "places")}
    return Loan.model_validate(
        {name: None if one is None else min(one, other or 0) for name, (one, other) in pairs.items()}
    )

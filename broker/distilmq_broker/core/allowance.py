"""How many requests may be out at once, so that a bound on the run is passed by little: those in flight count, too.

Of what is left of a bound a request takes what those of its step took on the average, and a margin that shrinks as more
is known. No more places are lent than requests that fit into the rest: first all that a limit allows, then fewer, at
last one. Of a step that nothing is known of, each model of a process sends one request, to find out.

Law: what is lent never takes more than is left, by what is known, but for the first request of a step and the last one
of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from distilmq.protocol.messages import Lend, Loan
from distilmq_broker.core.debtor import Debtor
from distilmq_broker.core.events import LoanAsked
from distilmq_broker.core.outstanding import Outstanding
from distilmq_broker.core.spending import Spending

_CLEARLY_MORE = 2
"""Times as many places as before are told at once, and not when they are asked for next."""

_Name = tuple[str, bytes, int]
"""Session, account, and which of its models in that process."""


@dataclass(slots=True, eq=False)
class _Borrower(Debtor):
    """A model in a process."""

    step: str
    lend: Lend | None = None
    """The last loan, before it was cut."""
    cut_to: int | None = 0
    """Its places; None where nothing bounds it."""
    loans: Outstanding = field(default_factory=Outstanding)
    """Those that it may be going by."""

    @property
    def taken(self) -> int:
        """Requests that are out, or may go out at any moment."""
        return self.places(self.loans)

    def tell(self, lend: Lend) -> Lend:
        """The loan, cut to its places, as it is told."""
        loan = lend.loan.model_copy(update={"places": self.cut_to})
        self.loans.tell(lend.asked, loan)
        return lend.model_copy(update={"loan": loan})


class Allowance:
    """Cuts loans to what is left of the bounds on a run; loans of a run without bounds stay as they are."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending
        self._borrowers: dict[_Name, _Borrower] = {}

    def asked(self, event: LoanAsked, step: str) -> None:
        """A model of a step's process asks for its share of an account."""
        if not self._spending.bounded:
            return
        name = (event.session, event.account, event.borrower)
        if event.leaving:
            self._borrowers.pop(name, None)
            return
        borrower = self._borrowers.setdefault(name, _Borrower(0, 0, step))
        borrower.wanted, borrower.out = max(0, event.wanted), max(0, event.out)
        borrower.loans.hear(event.heard)

    def lent(self, session: str, lend: Lend, now: float) -> Lend:
        """The loan that answers it, cut."""
        self._look_after_loans(now)
        borrower = self._borrowers.get((session, lend.account, lend.borrower))
        if borrower is None:
            return lend
        borrower.lend, borrower.until, borrower.silent = lend, now + lend.seconds, False
        borrower.cut_to = self._places(borrower)
        return borrower.tell(lend)

    def changed(self, now: float) -> Iterator[tuple[str, Lend]]:
        """By what is spent now: the loans that have to be smaller, or may be much larger, with the sessions to tell."""
        self._look_after_loans(now)
        for (session, _, _), borrower in self._borrowers.items():
            if borrower.lend is None or borrower.silent:
                continue
            before, places = borrower.cut_to, self._places(borrower)
            if _is_news(before, places):
                borrower.cut_to = places
                # What was learnt is told when it is asked for: it has gone on from there.
                yield session, borrower.tell(borrower.lend.model_copy(update={"learnt": Loan(), "full": False}))

    def _places(self, borrower: _Borrower) -> int | None:
        """Requests at once that one of the borrowers may have; None for any number."""
        most = None if borrower.lend is None else borrower.lend.loan.places
        unit = self._spending.part_of_rest(borrower.step)
        others = [other for other in self._borrowers.values() if other is not borrower]
        if unit is None:
            fitting = 1
        elif unit <= 0:
            return most
        else:
            taken = sum(other.taken * (self._spending.part_of_rest(other.step) or 0.0) for other in others)
            fair = borrower.weight / (borrower.weight + sum(other.weight for other in others))
            fitting = int(max(0.0, min(fair, 1.0 - taken)) / unit)
            if not fitting and borrower.wanted and not any(other.taken for other in others):
                fitting = 1  # else the rest would never be used
        return fitting if most is None else min(fitting, most)

    def gone(self, session: str) -> None:
        """A process is no more: its places come back when its loan is over."""
        for (name, _, _), borrower in self._borrowers.items():
            if name == session:
                borrower.gone = True

    def _look_after_loans(self, now: float) -> None:
        """A process that is there, and did not ask again, may have requests out until it says what came of them."""
        for name, borrower in list(self._borrowers.items()):
            if borrower.until > now:
                continue
            if borrower.gone:
                del self._borrowers[name]
            else:
                borrower.silent = borrower.lend is not None


def _is_news(before: int | None, now: int | None) -> bool:
    if before is None or now is None:
        return now is not before
    return now < before or now >= _CLEARLY_MORE * max(1, before)

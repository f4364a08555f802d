"""How many requests may be out at once, so that a bound on the run is passed by little: those in flight count, too.

Of what is left of a bound a request takes what those of its step took on the average, and a margin that shrinks as more
is known. No more places are lent than requests that fit into the rest: first all that a limit allows, then fewer, at
last one. Of a step that nothing is known of, each model of a process sends one request, to find out.

Law: what is lent never takes more than is left, by what is known, but for the first request of a step and the last one
of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from distilmq.protocol.messages import Lend, Loan
from distilmq_broker.core.events import LoanAsked
from distilmq_broker.core.spending import Spending

_CLEARLY_MORE = 2
"""Times as many places as before are told at once, and not when they are asked for next."""

_Name = tuple[str, bytes, int]
"""Session, account, and which of its models in that process."""


@dataclass(slots=True)
class _Borrower:
    """A model in a process."""

    step: str
    wanted: int
    out: int
    lend: Lend | None = None
    """The last loan, before it was cut."""
    places: int | None = 0
    """What it was cut to; None where nothing bounds it."""
    until: float = 0.0

    @property
    def taken(self) -> int:
        """Requests that are out, or may go out at any moment."""
        return max(self.places or 0, self.out)


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
        borrower = self._borrowers.setdefault(name, _Borrower(step, 0, 0))
        borrower.wanted, borrower.out = max(0, event.wanted), max(0, event.out)

    def lent(self, session: str, lend: Lend, now: float) -> Lend:
        """The loan that answers it, cut."""
        self._forget(now)
        borrower = self._borrowers.get((session, lend.account, lend.borrower))
        if borrower is None:
            return lend
        borrower.lend, borrower.until = lend, now + lend.seconds
        borrower.places = self._places(borrower)
        return _cut(lend, borrower.places)

    def changed(self, now: float) -> Iterator[tuple[str, Lend]]:
        """By what is spent now: the loans that have to be smaller, or may be much larger, with the sessions to tell."""
        self._forget(now)
        for (session, _, _), borrower in self._borrowers.items():
            if borrower.lend is None:
                continue
            before, places = borrower.places, self._places(borrower)
            if _is_news(before, places):
                borrower.places = places
                # What was learnt is told when it is asked for: it has gone on from there.
                yield session, _cut(borrower.lend.model_copy(update={"learnt": Loan(), "full": False}), places)

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
            weights = sum(max(1, other.wanted) for other in others)
            fair = max(1, borrower.wanted) / (max(1, borrower.wanted) + weights)
            fitting = int(max(0.0, min(fair, 1.0 - taken)) / unit)
            if not fitting and borrower.wanted and not any(other.taken for other in others):
                fitting = 1  # else the rest would never be used
        return fitting if most is None else min(fitting, most)

    def _forget(self, now: float) -> None:
        """Those whose loan is over."""
        for name in [name for name, each in self._borrowers.items() if each.lend is not None and each.until <= now]:
            del self._borrowers[name]


def _is_news(before: int | None, now: int | None) -> bool:
    if before is None or now is None:
        return now is not before
    return now < before or now >= _CLEARLY_MORE * max(1, before)


def _cut(lend: Lend, places: int | None) -> Lend:
    return lend.model_copy(update={"loan": lend.loan.model_copy(update={"places": places})})

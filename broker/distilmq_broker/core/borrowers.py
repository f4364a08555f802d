"""Who borrows of one account: the models of step processes, as they last asked.

A process that is frozen or cut off does not ask again, and its requests go on. So its places stay with it when its
loan is over, until it asks again, its process is no more, or nobody has heard of it for a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from distilmq.protocol.messages import Loan
from distilmq_broker.core.debtor import Debtor
from distilmq_broker.core.events import LoanAsked
from distilmq_broker.core.outstanding import Outstanding

KEPT_FOR = 60.0
"""Seconds that the places of a silent process are kept for it, when its loan is over."""

_Id = tuple[str, int]
"""A process, and which of its models."""


@dataclass(slots=True, eq=False)
class Borrower(Debtor):
    """One model of a process, as it borrows of an account."""

    told: Loan
    """The limits of the whole account, as it knows them."""
    said: Loan
    """To what it has come by itself."""
    heard: float | None
    """When it asked for the loan that it goes by."""
    value: int = 0
    """Requests at once to which it has come by itself, or from which it begins."""
    counted: Loan | None = None
    """What it said before of the share that it goes by: from there on it has news."""
    lent: Outstanding = field(default_factory=Outstanding)
    """Of what is told."""
    learnt: Outstanding = field(default_factory=Outstanding)
    """Of what is learnt."""

    @property
    def used(self) -> int:
        """Requests at once that it makes use of."""
        return min(self.value, self.out)

    def rate(self, loans: Outstanding, name: str) -> float:
        """What it takes of a rate."""
        return 0.0 if self.silent else loans.most(name)

    def fall_silent(self) -> None:
        """Its loan is over."""
        self.silent, self.told, self.wanted, self.value = True, Loan(), 0, 0


class Borrowers:
    """All of one account."""

    def __init__(self) -> None:
        self._borrowers: dict[_Id, Borrower] = {}

    def admit(self, event: LoanAsked, now: float) -> tuple[Borrower | None, Borrower]:
        """Whoever asks, as it was before (if its loan is not over) and as it is now."""
        self._look_after_loans(now)
        name = (event.session, event.borrower)
        before = self._borrowers.get(name)
        mine = Borrower(max(0, event.wanted), max(0, event.out), event.told, event.learnt, event.heard)
        mine.value = max(0, event.learnt.places or 0)
        if before is not None:
            mine.lent, mine.learnt = before.lent, before.learnt
            mine.counted = before.said if event.heard is not None and event.heard == before.heard else None
        mine.lent.hear(event.heard)
        mine.learnt.hear(event.heard)
        self._borrowers[name] = mine
        return None if before is None or before.silent else before, mine

    def beside(self, mine: Borrower) -> list[Borrower]:
        """The others."""
        return [other for other in self._borrowers.values() if other is not mine]

    def leave(self, event: LoanAsked) -> None:
        """One of them needs nothing more, and has nothing out."""
        self._borrowers.pop((event.session, event.borrower), None)

    def gone(self, session: str) -> None:
        """A process is no more."""
        for (name, _), borrower in self._borrowers.items():
            if name == session:
                borrower.gone = True

    def _look_after_loans(self, now: float) -> None:
        over = [(name, borrower) for name, borrower in self._borrowers.items() if borrower.until <= now]
        for name, borrower in over:
            if borrower.gone or borrower.until + KEPT_FOR <= now:
                del self._borrowers[name]
            elif not borrower.silent:
                borrower.fall_silent()

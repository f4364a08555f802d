"""What a borrower may be going by: messages cross, so the last loan that it was told is not always the one it has.

It says which loan it had heard of when it asked. By that one and by each that was told after it, it may have sent
requests that it has not told of yet.
"""

from __future__ import annotations

from collections import deque

from distilmq.protocol.messages import Loan

_FIELDS = ("places", "requests", "input_tokens", "output_tokens")


class Outstanding:
    """The loans of one borrower that it may be going by.

    Invariant: each has something that is more than in all that were told after it; so there are few.
    """

    def __init__(self) -> None:
        self._loans: deque[tuple[float, Loan]] = deque()
        """With the application that each answered."""

    def tell(self, asked: float, loan: Loan) -> None:
        """A loan is told to it, which answers what it asked at that time (by its own clock)."""
        while self._loans and _covers(loan, self._loans[-1][1]):
            self._loans.pop()
        self._loans.append((asked, loan))

    def hear(self, asked: float | None) -> None:
        """It goes by the loan that answered this application, or by a later one; None for by none yet."""
        while asked is not None and self._loans and self._loans[0][0] < asked:
            self._loans.popleft()

    def most(self, name: str) -> float:
        """The most of a limit that one of them gives."""
        return max((getattr(loan, name) or 0 for _, loan in self._loans), default=0)


def _covers(one: Loan, other: Loan) -> bool:
    return all((getattr(one, name) or 0) >= (getattr(other, name) or 0) for name in _FIELDS)

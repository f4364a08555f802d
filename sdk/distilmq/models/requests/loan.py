"""Shares of an account's limits: what a model asks the holder for, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.models.requests.rates import UNLIMITED, Limits


@dataclass(frozen=True, slots=True)
class Loan:
    """Limits, or a share of them; None where there is no limit."""

    places: int | None = None
    """Requests at once."""
    limits: Limits = UNLIMITED

    @property
    def values(self) -> tuple[float | None, ...]:
        """All of them, in one order."""
        return (self.places, self.limits.requests, self.limits.input_tokens, self.limits.output_tokens)

    @property
    def empty(self) -> bool:
        """Whether nothing may be sent by it."""
        return any(value is not None and value <= 0 for value in self.values)


NO_LIMIT = Loan()


@dataclass(frozen=True, slots=True)
class Application:
    """What a model asks the holder for."""

    account: bytes
    borrower: int
    """Which of the account's models in this process it is."""
    told: Loan
    """The limits of the whole account, as the user or the provider tells them."""
    wanted: int
    """Requests that are out or wait."""
    out: int
    held: Loan | None
    """What it still has of what is told."""
    asked: float
    """When, by this process's clock; it comes back with the loan."""
    learnt: Loan = NO_LIMIT
    """What it has come to by what answers and refusals say, for its share."""
    share: Loan = NO_LIMIT
    """What it began from: its share of what all have learnt, or nothing."""
    settled: bool = False
    """Whether it has seen a sign that more requests at once bring nothing."""
    leaving: bool = False
    """It needs nothing more, and has nothing out."""
    heard: float | None = None
    """When it asked for the loan that it goes by; None where it has none yet."""


@dataclass(frozen=True, slots=True)
class Lent:
    """What came of an application."""

    loan: Loan
    """The share of what is told: nothing may go beyond it."""
    until: float
    learnt: Loan = NO_LIMIT
    """The share of what all have learnt: where to go on learning from."""
    settled: bool = False
    """Whether one of them has seen a sign that more requests at once bring nothing."""
    full: bool = False
    """Whether what may come at once may come now."""
    asked: float | None = None
    """When it was applied for."""

"""Being known: Hello until it is welcomed, then a beat at the interval that was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages import Welcome

HELLO_AGAIN = 5.0
"""Seconds without a Welcome after which Hello is said again."""


@dataclass(slots=True)
class Introduction:
    """To a broker, or to one of its runs."""

    welcome: Welcome | None = None
    due: float = 0.0
    """When to say the next Hello or beat."""

    def welcomed(self, welcome: Welcome, now: float) -> None:
        """We are known."""
        self.welcome = welcome
        self.due = now + welcome.heartbeat

    def ask_again(self, now: float) -> None:
        """We are not known any more."""
        self.welcome = None
        self.due = now

    def hurry(self, now: float) -> None:
        """The next beat is said now; a Hello is not said more often for it."""
        if self.welcome is not None:
            self.due = now

    def is_due(self, now: float) -> bool:
        """Whether it is time; the next time is then later."""
        if now < self.due:
            return False
        self.due = now + (HELLO_AGAIN if self.welcome is None else self.welcome.heartbeat)
        return True

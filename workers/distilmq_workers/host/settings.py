"""What a host is told when it is started: read once, then passed on as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distilmq.protocol.messages.slots import Offer


@dataclass(frozen=True, slots=True)
class OnLoss:
    """What to do when nothing is heard of the broker any more."""

    do: Literal["wait", "finish", "exit"] = "wait"
    """Go on and wait for it; finish what is in hand and leave; leave at once."""
    seconds: float = 600.0
    """How long to wait; then what is in hand is finished."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One host."""

    worker: str
    """The name by which it is known."""
    offer: Offer
    steps: tuple[str, ...] = ()
    """Steps it takes; empty for any."""
    time_limit: float | None = None
    """Seconds after which it takes nothing new, finishes what is in hand, and leaves."""
    idle_timeout: float | None = None
    """Seconds without a step process after which it leaves."""
    on_loss: OnLoss = OnLoss()

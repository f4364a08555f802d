"""What a worker would be that a launcher starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from distilmq.protocol.messages.slots import Need, Offer
from distilmq_broker.front.core.hosts import Room


@dataclass(frozen=True, slots=True)
class Kind:
    """What it offers, and whom."""

    offer: Offer
    steps: tuple[str, ...] = ()
    """Steps it takes; empty for any."""

    def suits(self, need: Need) -> bool:
        """Whether a process fits there when nothing else is there."""
        wears = all(self.offer.labels.get(name) == value for name, value in need.labels.items())
        takes = not self.steps or all(step in self.steps for step in need.steps)
        return wears and takes and Room.of(self.offer).fits(need)


KindFor = Callable[[Need | None], Kind | None]
"""The kind that is launched for a need, or for none in particular; None when none can be."""

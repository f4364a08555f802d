"""The step processes of a submitted run: hosts start them, where the broker grants it slots."""

from __future__ import annotations

from distilmq.protocol.messages import Hello
from distilmq_broker.core.events import SupervisorExited


class GrantedSlots:
    """See `ports.Slots`. The broker is told what is needed step by step, so that nothing is to be done here."""

    def keep(self, count: int) -> None:
        """See `Slots.keep`."""

    def joined(self, hello: Hello) -> None:
        """See `Slots.joined`."""

    def ended(self) -> list[SupervisorExited]:
        """See `Slots.ended`: supervisors of other machines do not end, nothing is heard of them any more."""
        return []

    @property
    def hopeless(self) -> bool:
        """See `Slots.hopeless`: another host may come."""
        return False

    def stop(self, *, now: bool) -> None:
        """See `Slots.stop`."""

    @property
    def running(self) -> bool:
        """See `Slots.running`."""
        return False

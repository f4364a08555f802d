"""The step processes of a submitted run: hosts start them, where the broker grants it slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.protocol.messages import Hello
from distilmq_broker.core.events import SupervisorExited

if TYPE_CHECKING:
    from distilmq_broker.submitted import Submitted


class GrantedSlots:
    """See `ports.Slots`. The broker is told what is needed step by step, so that little is to be done here.

    Args:
        broker: what the run says to it.
    """

    def __init__(self, broker: Submitted) -> None:
        self._broker = broker

    def keep(self, count: int) -> None:
        """See `Slots.keep`: told at once, so that no process is started for one that ends because it is not needed."""
        self._broker.look_again()

    def joined(self, hello: Hello) -> None:
        """See `Slots.joined`."""

    def ended(self) -> list[SupervisorExited]:
        """See `Slots.ended`: supervisors of other machines do not end, nothing is heard of them any more."""
        return []

    def refuse(self, worker: str, step: str, reason: str) -> None:
        """See `Slots.refuse`."""
        self._broker.refuse(worker, step, reason)

    def departed(self, session: str) -> None:
        """See `Slots.departed`."""
        self._broker.departed(session)

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

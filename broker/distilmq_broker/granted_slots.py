"""The step processes of a submitted run: hosts start them, where the broker grants it slots."""

from __future__ import annotations

from collections.abc import Callable

from distilmq.protocol.messages import Hello
from distilmq_broker.core.events import SupervisorExited


class GrantedSlots:
    """See `ports.Slots`. The broker is told what is needed step by step, so that little is to be done here.

    Args:
        refuse: tells it of a host, a step (or none, for all of them), and why no more of it is to run there.
        departed: tells it of a step process that is no more: it lends to those of all runs.
    """

    def __init__(self, refuse: Callable[[str, str, str], None], departed: Callable[[str], None]) -> None:
        self._tell_refusal = refuse
        self._tell_departed = departed

    def keep(self, count: int) -> None:
        """See `Slots.keep`."""

    def joined(self, hello: Hello) -> None:
        """See `Slots.joined`."""

    def ended(self) -> list[SupervisorExited]:
        """See `Slots.ended`: supervisors of other machines do not end, nothing is heard of them any more."""
        return []

    def refuse(self, worker: str, step: str, reason: str) -> None:
        """See `Slots.refuse`."""
        self._tell_refusal(worker, step, reason)

    def departed(self, session: str) -> None:
        """See `Slots.departed`."""
        self._tell_departed(session)

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

"""Which slot of which host serves which run: needs are matched to offers, in turn, by weight.

Laws: no host has more grants than slots, nor more cpus, memory or resources granted than it offers; no gpu is in two
grants; a run with a need that fits on a host does not starve; the process of a healthy run is not taken away while it
has work, but to give a run that has none its first.
"""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.protocol.messages.broker import Grant
from distilmq_broker.front.core.commands import Command
from distilmq_broker.front.core.events import Event


class Allocation:
    """All hosts, all needs, and the grants between them. Decides everything and does nothing itself.

    Args:
        liveness: seconds without a beat after which a host counts as lost.
        settling: seconds after the start (and after a restart above all) in which nothing new is granted to a run
            that may still have processes on hosts which have not come back.
    """

    def __init__(self, *, liveness: float, settling: float = 0.0) -> None:
        self._liveness = liveness
        self._settling = settling

    def start(self, now: float) -> None:
        """The broker begins."""
        return

    def handle(self, event: Event, now: float) -> list[Command]:
        """What follows from an event."""
        return []

    def next_deadline(self) -> float | None:
        """When to say `DeadlineReached`."""
        return None

    def grants_of(self, session: str) -> Sequence[Grant]:
        """What a host has, or is to have."""
        return ()

    def processes(self, run: str) -> int:
        """How many grants a run has."""
        return 0

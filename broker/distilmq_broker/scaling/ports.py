"""What the scaler needs of the world: somebody who starts workers, and the broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from distilmq.protocol.messages.slots import Demand, Need
from distilmq_broker.scaling.core.kinds import Kind


class WorkerLauncher(Protocol):
    """Starts workers by one technology; none of its calls takes longer than its commands do."""

    def kind_for(self, need: Need | None) -> Kind | None:
        """What it would start for a need, or for none in particular; None when that would be of no use."""
        ...

    def start(self, name: str, kind: Kind) -> str:
        """Has a worker started whose name is this one, or begins with it and a dash; what went wrong, or nothing."""
        ...

    def ended(self, names: Iterable[str]) -> Mapping[str, str]:
        """Those of the workers that will not join (any more), each with why, as far as it can be known."""
        ...

    def cancel(self, name: str) -> None:
        """A worker that has not joined is not wanted any more."""
        ...

    def close(self) -> None:
        """The scaler ends; workers that live only as long as it are let go."""
        ...


class Broker(Protocol):
    """The broker, as a client sees it."""

    def demand(self) -> Demand | None:
        """What runs need, and who is there; None when it does not answer at the moment.

        Raises:
            DistilmqUserError: it does not let us in.
        """
        ...

    def drain(self, worker: str) -> None:
        """Has a worker finish what it has in hand, and leave."""
        ...

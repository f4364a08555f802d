"""Each worker an actor of Ray, made for the need that it is launched for; they end with the scaler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distilmq.protocol.messages.slots import Need, Offer
from distilmq_broker.launchers.ray import RayCluster, RayWorker
from distilmq_broker.scaling.core.kinds import Kind


class RayWorkers:
    """See `ports.WorkerLauncher`. Actors for which Ray has no room yet are waited for, however long.

    Args:
        cluster: that places them.
        connection: the text of their connection file.
        options: more of `distilmq worker`.
    """

    def __init__(self, cluster: RayCluster, connection: str, options: tuple[str, ...] = ()) -> None:
        self._cluster = cluster
        self._connection = connection
        self._options = options
        self._actors: dict[str, tuple[Any, Any]] = {}
        """Name to the actor, and to what becomes ready when its worker has ended."""

    def kind_for(self, need: Need | None) -> Kind | None:
        """A place for one process; where it asks for something, for no other step: it shall not lose its place."""
        if need is None:
            return Kind(Offer())
        asks = need.cpus or need.gpus or need.memory or need.resources or need.labels
        offer = Offer(
            cpus=need.cpus,
            gpus=tuple(str(number) for number in range(need.gpus)),
            memory=need.memory,
            resources=need.resources,
            labels=need.labels,
        )
        return Kind(offer, need.steps if asks else ())

    def start(self, name: str, kind: Kind) -> str:
        """See `ports.WorkerLauncher`."""
        offer = kind.offer
        worker = RayWorker(
            name,
            cpus=offer.cpus or None,
            gpus=len(offer.gpus),
            memory=offer.memory,
            resources=offer.resources,
            labels=offer.labels,
            options=("--slots=1", *(f"--steps={step}" for step in kind.steps), *self._options),
        )
        actor = self._cluster.start(worker, self._connection, stays=False)
        self._actors[name] = actor, self._cluster.result(actor)
        return ""

    def ended(self, names: Iterable[str]) -> Mapping[str, str]:
        """See `ports.WorkerLauncher`; of all that have ended, Ray has back what they took."""
        reasons: dict[str, str] = {}
        for name, (actor, result) in list(self._actors.items()):
            if (reason := self._cluster.why_ended(result)) is not None:
                reasons[name] = reason
                del self._actors[name]
                self._cluster.kill(actor)
        return {name: reasons[name] for name in names if name in reasons}

    def cancel(self, name: str) -> None:
        """See `ports.WorkerLauncher`."""
        if (found := self._actors.pop(name, None)) is not None:
            self._cluster.kill(found[0])

    def close(self) -> None:
        """Ends all."""
        for name in list(self._actors):
            self.cancel(name)
        self._cluster.close()

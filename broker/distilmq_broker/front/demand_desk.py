"""The desk for who starts and stops hosts: what runs want, who is there, and who may go."""

from __future__ import annotations

from distilmq.protocol.messages.slots import Demand, DrainHost, HostDrained, HostShown, NeedShown, Offer, ShowDemand
from distilmq.transport.ports import PeerId
from distilmq_broker.front.core.allocation import Allocation
from distilmq_broker.front.core.hosts import Host
from distilmq_broker.front.host_desk import HostDesk
from distilmq_broker.front.way import Way


class DemandDesk:
    """Answers clients."""

    def __init__(self, hosts: HostDesk, way: Way) -> None:
        self._hosts = hosts
        self._way = way

    def take(self, message: ShowDemand | DrainHost, peer: PeerId) -> None:
        """Deals with one message of a client."""
        match message:
            case ShowDemand():
                self._way.say(peer, self._demand())
            case DrainHost(worker=worker):
                self._hosts.drain(worker)
                self._way.say(peer, HostDrained(worker=worker))

    def _demand(self) -> Demand:
        allocation = self._hosts.allocation
        return Demand(
            needs=shown_needs(allocation),
            hosts=tuple(shown_host(host, self._hosts.machine(host.session)) for host in allocation.hosts()),
        )


def shown_needs(allocation: Allocation) -> tuple[NeedShown, ...]:
    """All needs of all runs, as a client sees them."""
    return tuple(
        NeedShown(run=run, need=need, processes=has, refused_by=tuple(refusing))
        for run, need, has, refusing in allocation.needs()
    )


def shown_host(host: Host, machine: str) -> HostShown:
    """A host, as a client sees it."""
    room = host.coming_room()
    return HostShown(
        worker=host.worker,
        host=machine,
        offer=host.offer,
        room=Offer(
            slots=room.slots,
            cpus=room.cpus,
            gpus=tuple(room.gpus),
            memory=room.memory,
            resources=room.resources,
            labels=host.offer.labels,
        ),
        steps=host.steps,
        processes=tuple((holding.grant.run, holding.grant.need) for holding in host.holdings.values()),
        leaving=host.leaving,
    )

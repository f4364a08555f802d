"""Where processes could run: hosts that are there or are coming, and what is free of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from distilmq.protocol.messages.broker import Grant
from distilmq.protocol.messages.slots import HostShown, Need, NeedShown
from distilmq_broker.front.core.hosts import Room
from distilmq_broker.scaling.core.kinds import Kind


@dataclass(slots=True, eq=False)
class Spot:
    """One host."""

    name: str
    kind: Kind
    room: Room
    used: bool = False
    """Whether something that waits now could run here."""

    @classmethod
    def of(cls, host: HostShown) -> Spot:
        """What is left of a host that is there."""
        return cls(host.worker, Kind(host.offer, host.steps), Room.of(host.room))

    @classmethod
    def coming(cls, name: str, kind: Kind) -> Spot:
        """All of a host that was launched."""
        return cls(name, kind, Room.of(kind.offer))

    def take(self, need: Need) -> None:
        """A process will be here."""
        grant = Grant(id="", run="", need=need.id, cpus=need.cpus, memory=need.memory, resources=need.resources)
        self.room.take(grant.model_copy(update={"gpus": tuple(self.room.gpus[: need.gpus])}))
        self.used = True

    def has_room(self, shown: NeedShown) -> bool:
        """Whether a process fits here now, and can be loaded."""
        return self.room.fits(shown.need) and self.kind.suits(shown.need) and self.name not in shown.refused_by


class Spots:
    """All of them."""

    def __init__(self, spots: Iterable[Spot]) -> None:
        self._spots = list(spots)

    def add(self, spot: Spot) -> None:
        """One more is coming."""
        self._spots.append(spot)

    def place(self, shown: NeedShown) -> bool:
        """Puts a process where the least is lost by it; whether there was a place."""
        able = [spot for spot in self._spots if spot.has_room(shown)]
        if able:
            min(able, key=_dearness).take(shown.need)
        return bool(able)

    @property
    def used(self) -> set[str]:
        """The names of those on which something that waits could run."""
        return {spot.name for spot in self._spots if spot.used}


def waiting(needs: Iterable[NeedShown], *, eager: bool = False) -> Iterator[NeedShown]:
    """A need for each process that would have something to do, and is not there.

    Where a scaler is eager, for each that is wanted: it loads its step before the first batch comes.

    One of each need that nothing serves comes first, so that none of them has to wait for another's second one.
    """
    more: list[NeedShown] = []
    for shown in needs:
        if shown.need.waits:
            continue
        missing = (shown.need.count if eager else min(shown.need.count, shown.need.work)) - shown.processes
        if missing > 0 and not shown.processes:
            yield shown
            missing -= 1
        more += [shown] * missing
    yield from more


def _dearness(spot: Spot) -> tuple[int, int, int]:
    """Gpus and resources are left for who needs them."""
    return len(spot.room.gpus), len(spot.kind.offer.resources), spot.room.slots

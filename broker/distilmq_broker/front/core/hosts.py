"""A host: what it offers, what of it is granted, and what would still fit."""

from __future__ import annotations

from dataclasses import dataclass, field

from distilmq.protocol.messages.broker import Grant
from distilmq.protocol.messages.slots import Need, Offer

_NOTHING = Need(id="", steps=(), count=0)


@dataclass(slots=True)
class Room:
    """What is free of an offer."""

    slots: int
    cpus: int
    memory: int
    gpus: list[str]
    resources: dict[str, int]

    @classmethod
    def of(cls, offer: Offer) -> Room:
        """All of it."""
        return cls(offer.slots, offer.cpus, offer.memory, list(offer.gpus), dict(offer.resources))

    def copy(self) -> Room:
        """Room that can be changed without changing this."""
        return Room(self.slots, self.cpus, self.memory, list(self.gpus), dict(self.resources))

    def fits(self, need: Need, beside: Need | None = None) -> bool:
        """Whether one more process fits, or one more of each of two needs."""
        other = beside or _NOTHING
        return (
            self.slots >= (1 if beside is None else 2)
            and self.cpus >= need.cpus + other.cpus
            and self.memory >= need.memory + other.memory
            and len(self.gpus) >= need.gpus + other.gpus
            and all(
                self.resources.get(name, 0) >= amount + other.resources.get(name, 0)
                for name, amount in need.resources.items()
            )
        )

    def take(self, grant: Grant) -> None:
        """A process has it."""
        self._change(grant, -1)
        self.gpus = [gpu for gpu in self.gpus if gpu not in grant.gpus]

    def give(self, grant: Grant) -> None:
        """The process is gone."""
        self._change(grant, 1)
        self.gpus += [gpu for gpu in grant.gpus if gpu not in self.gpus]

    def _change(self, grant: Grant, sign: int) -> None:
        self.slots += sign
        self.cpus += sign * grant.cpus
        self.memory += sign * grant.memory
        for name, amount in grant.resources.items():
            self.resources[name] = self.resources.get(name, 0) + sign * amount


@dataclass(slots=True, eq=False)
class Holding:
    """A grant, from when it is made until its host has no process for it any more."""

    grant: Grant
    host: Host
    since: float
    begun: float | None = None
    """When its process had loaded its steps; None while it loads."""
    listed: bool = False
    """Whether the host has ever named it among its own."""
    ending: bool = False
    """Taken back: its process finishes what it has in hand, and takes up room until it is gone."""
    told: int | None = None
    """The list that told its host of it, or (once it is taken back) the first that left it out."""


@dataclass(slots=True, eq=False)
class Host:
    """A worker program. Invariant: `room` is the offer without what the holdings take up."""

    worker: str
    session: str
    offer: Offer
    steps: tuple[str, ...]
    seen: float
    leaving: bool = False
    holdings: dict[str, Holding] = field(default_factory=lambda: dict[str, Holding]())
    kept_for: tuple[str, str] | None = None
    """Run and need that the room which is becoming free here is meant for."""
    last_list: int = 0
    """The number of the last list of grants that it was sent."""
    told_at: float = 0.0
    """When it was sent."""
    room: Room = field(init=False)
    whole: Room = field(init=False)
    """The offer."""

    def __post_init__(self) -> None:
        self.room = Room.of(self.offer)
        self.whole = Room.of(self.offer)

    def add(self, grant: Grant, now: float) -> Holding:
        """A grant is made, or found."""
        holding = self.holdings[grant.id] = Holding(grant, self, now)
        self.room.take(grant)
        return holding

    def remove(self, holding: Holding) -> None:
        """Its process is gone."""
        del self.holdings[holding.grant.id]
        self.room.give(holding.grant)
        self._keep_gpus_of_others()

    def grants(self) -> tuple[Grant, ...]:
        """What it is to have."""
        return tuple(holding.grant for holding in self.holdings.values() if not holding.ending)

    def takes(self, need: Need) -> bool:
        """Whether its operator lets it run these steps."""
        return not self.steps or all(step in self.steps for step in need.steps)

    def suits(self, need: Need) -> bool:
        """Whether a process fits here when nothing else is here."""
        wears = all(self.offer.labels.get(name) == value for name, value in need.labels.items())
        return wears and self.takes(need) and self.whole.fits(need)

    def coming_room(self) -> Room:
        """What will be free when all that was taken back is gone."""
        room = self.room.copy()
        for holding in self.holdings.values():
            if holding.ending:
                room.give(holding.grant)
        return room

    def _keep_gpus_of_others(self) -> None:
        # A host that comes back may have two processes on one gpu: it is free when both are gone.
        held = [gpu for holding in self.holdings.values() for gpu in holding.grant.gpus]
        self.room.gpus = [gpu for gpu in self.room.gpus if gpu in self.offer.gpus and gpu not in held]

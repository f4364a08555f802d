"""The places for step processes, one for each grant: which process is in it, and when the next is started."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from distilmq.protocol.messages.broker import Grant
from distilmq_workers.host.commands import KillProcess, TerminateProcess
from distilmq_workers.pacing import Pacing


@dataclass(slots=True)
class Place:
    """Of one grant."""

    grant: Grant
    pacing: Pacing = field(default_factory=Pacing)
    child: str | None = None
    """The session of its process; None while there is none."""
    ending: bool = False
    """Its process finishes what it has in hand; none follows it."""


class Places:
    """All places of a host. A grant without a place that the broker still lists is over: it is not taken up again."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._over: list[str] = []

    def __len__(self) -> int:
        return len(self._places)

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What there are places for."""
        return tuple(place.grant for place in self._places.values())

    def all(self) -> list[Place]:
        """All of them."""
        return list(self._places.values())

    def take_up(self, grants: Iterable[Grant]) -> None:
        """Makes a place for each grant that has none yet and is not over."""
        for grant in grants:
            if grant.id not in self._over:
                self._places.setdefault(grant.id, Place(grant))

    def forget_over(self, listed: Collection[str]) -> None:
        """Of those that are over, only what the broker still lists has to be remembered."""
        self._over = [grant for grant in self._over if grant in listed]

    def end(self, place: Place, *, at_once: bool = False) -> Iterable[TerminateProcess | KillProcess]:
        """A grant is to be over: it is as soon as its process is gone."""
        asked, place.ending = place.ending, True
        if place.child is None:
            self.remove(place)
        elif at_once:
            yield KillProcess(place.child)
        elif not asked:
            yield TerminateProcess(place.child)

    def remove(self, place: Place) -> None:
        """A grant is over."""
        del self._places[place.grant.id]
        self._over.append(place.grant.id)

    def with_child(self, child: str) -> Place | None:
        """The place of a process."""
        return next((place for place in self._places.values() if place.child == child), None)

    def of_run(self, run: str) -> list[Place]:
        """The places that serve a run."""
        return [place for place in self._places.values() if place.grant.run == run]

    def children_of(self, run: str) -> tuple[str, ...]:
        """The processes that serve a run."""
        return tuple(place.child for place in self.of_run(run) if place.child is not None)

    def to_start(self, now: float) -> list[Place]:
        """Those whose process is to be started now."""
        return [place for place in self._empty() if now >= place.pacing.start_after]

    def next_start(self) -> float | None:
        """When one is to be started."""
        return min((place.pacing.start_after for place in self._empty()), default=None)

    def _empty(self) -> list[Place]:
        return [place for place in self._places.values() if place.child is None and not place.ending]

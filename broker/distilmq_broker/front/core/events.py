"""What has happened to hosts and to the needs of runs."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages.broker import Grant
from distilmq.protocol.messages.slots import Need, Offer


@dataclass(frozen=True, slots=True)
class HostJoined:
    """A host said Hello, for the first time or again; it has processes for these grants."""

    session: str
    worker: str
    offer: Offer
    steps: tuple[str, ...] = ()
    """Steps it takes; empty for any."""
    grants: tuple[Grant, ...] = ()
    heard: str = ""
    """The last list of grants that it got."""
    follows: str = ""
    """Session of the host that went by its name, if that is not connected any more."""


@dataclass(frozen=True, slots=True)
class HostBeaten:
    """A host is alive; of its grants these are not over."""

    session: str
    grants: tuple[str, ...] = ()
    heard: str = ""
    """The last list of grants that it got."""
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class HostLeft:
    """A host said Bye."""

    session: str


@dataclass(frozen=True, slots=True)
class NeedsTold:
    """A run said all that it needs."""

    run: str
    needs: tuple[Need, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class HostUnfit:
    """A host cannot serve a need of a run, or (with an empty one) any: it gets no more of it."""

    run: str
    worker: str
    need: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunGone:
    """A run is over or stopped: what it has is free."""

    run: str


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The time that `next_deadline` named has come."""


Event = HostJoined | HostBeaten | HostLeft | HostUnfit | NeedsTold | RunGone | DeadlineReached

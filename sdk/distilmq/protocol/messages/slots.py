"""What hosts offer and what runs need: slots for step processes, and who wants how many of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distilmq.protocol.messages.values import Message, Value


class Offer(Value):
    """What a host has for step processes, all in all."""

    slots: int = 1
    """Step processes at a time."""
    cpus: int = 0
    gpus: tuple[str, ...] = ()
    """As `CUDA_VISIBLE_DEVICES` names them."""
    memory: int = 0
    """Bytes."""
    resources: dict[str, int] = Field(default_factory=dict)
    """Of the operator's own naming, each with a count."""
    labels: dict[str, str] = Field(default_factory=dict)


class Need(Value):
    """Step processes that a run wants, all alike."""

    id: str
    """Within the run."""
    steps: tuple[str, ...]
    count: int
    work: int = 1
    """Batches that wait or are in hand; 0: a process would have nothing to do at the moment."""
    fed: bool = False
    """More comes to its processes, though they have nothing to do at the moment."""
    ready: int | None = None
    """Processes that have loaded their steps; None from who does not say."""
    load: float = 0.0
    """Seconds that loading has taken; 0 while that is not known."""
    cpus: int = 0
    gpus: int = 0
    memory: int = 0
    resources: dict[str, int] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    waits: bool = False
    """None can be started for now: those that there are go on."""


class HostShown(Value):
    """A host, as a client sees it."""

    worker: str
    """The host's name."""
    host: str = ""
    """The machine's name."""
    offer: Offer = Offer()
    room: Offer = Offer(slots=0)
    """What of it is free, or will be when processes that are ending are gone."""
    steps: tuple[str, ...] = ()
    """Steps it takes; empty for any."""
    processes: tuple[tuple[str, str], ...] = ()
    """Run and need of each process that it has."""
    leaving: bool = False
    """It finishes what it has and takes nothing new."""


class NeedShown(Value):
    """A need of a run, and how many processes serve it."""

    run: str
    need: Need
    processes: int = 0
    refused_by: tuple[str, ...] = ()
    """Hosts that cannot load it, by name."""


class ShowDemand(Message):
    """Which step processes do runs want, and which hosts are there?"""

    kind: Literal["show_demand"] = "show_demand"
    session: str


class Demand(Message):
    """All needs of all runs, and all hosts."""

    kind: Literal["demand"] = "demand"
    needs: tuple[NeedShown, ...] = ()
    hosts: tuple[HostShown, ...] = ()


class DrainHost(Message):
    """A host is to finish what it has in hand, and leave. Saying it again changes nothing."""

    kind: Literal["drain_host"] = "drain_host"
    session: str
    worker: str


class HostDrained(Message):
    """It has been told, if it is there."""

    kind: Literal["host_drained"] = "host_drained"
    worker: str

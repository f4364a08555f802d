"""What a supervisor and a step process are told when they are started: read once, then passed on as values."""

from __future__ import annotations

from dataclasses import dataclass, field

RUN_TOKEN = "DISTILMQ_RUN_TOKEN"
"""The variable in which a host gives a step process its token."""


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """The worker program of one host."""

    endpoint: str
    """Where the coordinator listens."""
    worker: str
    """The name by which it knows this host."""
    slots: int = 1
    """How many step processes to keep, until the coordinator says another number."""
    lifeline: int | None = None
    """Descriptor that ends when whoever started this is gone."""


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """One step process."""

    endpoint: str
    """Where to connect to, see `reach`."""
    worker: str
    session: str
    """The name of this one life, given by the supervisor so that it can tell when it ends."""
    parent: int
    """The supervisor's process id."""
    run: str = ""
    """The run of a broker that it serves; empty where a coordinator listens itself."""
    token: str = field(default="", repr=False)
    """What it shows to be heard by that run."""
    steps: tuple[str, ...] = ()
    """Steps it takes; empty for any."""
    stalls: int | None = None
    """Descriptor to the supervisor, for the stack of a thread that lets nobody else run."""

"""What the scaler asks of the world, in the imperative."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages.slots import Need
from distilmq_broker.scaling.core.kinds import Kind


@dataclass(frozen=True, slots=True)
class Launch:
    """Start a worker of this kind; its name is this one, or begins with it and a dash."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Cancel:
    """A worker that was launched, and has not joined, is not wanted any more."""

    name: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Have the broker tell a worker to finish what it has in hand, and leave. Doing it again changes nothing."""

    worker: str


@dataclass(frozen=True, slots=True)
class TellUnserved:
    """A need that no worker which can be launched would serve: said once of each."""

    run: str
    need: Need


Command = Launch | Cancel | Drain | TellUnserved

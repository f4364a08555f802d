"""What a host's session asks of the world, in the imperative."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages import Message
from distilmq.protocol.messages.broker import Grant


@dataclass(frozen=True, slots=True)
class Say:
    """Send to a run, or (with none) to the broker itself."""

    run: str
    message: Message


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Start a step process; its end is told by `ProcessEnded`."""

    child: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class GoBy:
    """Step processes that are started from here on go by this name of their host."""

    worker: str


@dataclass(frozen=True, slots=True)
class TerminateProcess:
    """Have it finish what it has in hand, and end."""

    child: str


@dataclass(frozen=True, slots=True)
class KillProcess:
    """End it and what it started, whatever it does."""

    child: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Write a line for whoever started the host."""

    text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """End the program; what still runs is killed."""

    code: int


Command = Say | StartProcess | GoBy | TerminateProcess | KillProcess | Tell | Leave

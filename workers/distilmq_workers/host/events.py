"""What happened to a host, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages import Message


@dataclass(frozen=True, slots=True)
class Received:
    """A run said something, or (with no run) the broker itself."""

    run: str
    message: Message


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """A step process is no more."""

    child: str
    code: int
    """As `subprocess` gives it: negative is a signal."""
    output: str = ""
    lived: float = 0.0


@dataclass(frozen=True, slots=True)
class ProcessStalled:
    """A step process lets nothing else in it run."""

    child: str
    stacks: str


@dataclass(frozen=True, slots=True)
class TerminateAsked:
    """SIGTERM: finish what is in hand and leave; the second time, leave."""


@dataclass(frozen=True, slots=True)
class StarterGone:
    """Who started the host, and holds the other end of its standard input, is gone: nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """`next_deadline()` may have been reached."""


Event = Received | ProcessEnded | ProcessStalled | TerminateAsked | StarterGone | TimePassed

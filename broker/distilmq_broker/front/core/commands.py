"""What the broker's mind asks of the world, in the imperative."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages.broker import Grant
from distilmq.protocol.messages.runs import Unmet


@dataclass(frozen=True, slots=True)
class TellHost:
    """Send `Grants` to a host: all that it is to have."""

    session: str
    id: str
    """Of this list; it comes back in the host's beats."""
    grants: tuple[Grant, ...]
    worker: str
    """The name that it goes by."""


@dataclass(frozen=True, slots=True)
class TellRun:
    """Send `Granted` to a run: how its needs are met. Only on change."""

    run: str
    counts: dict[str, int]
    unmet: tuple[Unmet, ...]


@dataclass(frozen=True, slots=True)
class AskWho:
    """A host that is not known beats: it is to say Hello."""

    session: str


@dataclass(frozen=True, slots=True)
class LoseHost:
    """Nothing was heard of a host for long: its grants are free. It may come back."""

    session: str
    worker: str


Command = TellHost | TellRun | AskWho | LoseHost

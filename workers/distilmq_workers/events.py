"""What happens to a step process, and what its session asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distilmq.protocol.messages import Assign, Batch, Lease, Message


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the coordinator came in."""

    message: Message
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The step is loaded."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The batch in hand is done: a Result, a Failed or a Returned says how."""

    lease: Lease
    message: Message
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """The user's code has something for the coordinator: an answer of a model, a note, a load failure."""

    message: Message
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class BeatDue:
    """The heartbeat interval has passed."""


Event = Received | Loaded | Finished | Said | BeatDue


@dataclass(frozen=True, slots=True)
class Post:
    """Send a message to the coordinator."""

    message: Message
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class LoadStep:
    """Rebuild the step and call its `load()`."""

    assign: Assign
    definition: bytes


@dataclass(frozen=True, slots=True)
class Begin:
    """Call `process` with a batch."""

    batch: Batch
    payload: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class StopAsking:
    """Have the batch in hand send no new request to a model."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Unload the step and end the process; `now` does not wait for the user's code."""

    now: bool = False
    reason: str = ""


Command = Post | LoadStep | Begin | StopAsking | Leave

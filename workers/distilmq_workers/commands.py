"""What the session of a step process asks of the world, in the imperative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distilmq.protocol.messages import Assign, Batch, JobKept, Lease, Lend, Message


@dataclass(frozen=True, slots=True)
class Say:
    """Send to the coordinator."""

    message: Message
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class LimitMessages:
    """From now on refuse to send what is larger, and cut results that have more than the other number of bytes."""

    size: int
    part: int = 0
    """0: they go whole."""


@dataclass(frozen=True, slots=True)
class WriteData:
    """Write bytes of a data file of the step."""

    digest: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LoadStep:
    """Rebuild the step and call its `load()`."""

    assign: Assign
    definition: bytes


@dataclass(frozen=True, slots=True)
class RunBatch:
    """Call `process`."""

    batch: Batch
    payload: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class TakeLoan:
    """Give a share of an account's limits to the models that use it."""

    lend: Lend


@dataclass(frozen=True, slots=True)
class TakeJobKept:
    """Tell the batch that its requests in a batch job are recorded."""

    kept: JobKept


@dataclass(frozen=True, slots=True)
class TakeRecorded:
    """Tell the models that asked through batch jobs that what came of a batch is recorded."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class SendFilesAgain:
    """Artifacts that were sent may not have come: send them again."""


@dataclass(frozen=True, slots=True)
class StopAsking:
    """Models send no new request."""


@dataclass(frozen=True, slots=True)
class ReportStall:
    """Tell where the user's code is: it has been at a batch for long."""

    lease: Lease
    seconds: float


@dataclass(frozen=True, slots=True)
class Leave:
    """End the process; `unload` first calls the step's `unload()`, without it nothing is waited for."""

    unload: bool


Command = (
    Say
    | LimitMessages
    | WriteData
    | LoadStep
    | RunBatch
    | TakeLoan
    | TakeJobKept
    | TakeRecorded
    | SendFilesAgain
    | StopAsking
    | ReportStall
    | Leave
)

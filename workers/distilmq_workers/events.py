"""What happened to a step process, in the past tense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distilmq.protocol.messages import (
    Artifact,
    Borrow,
    ErrorInfo,
    Failed,
    Job,
    JobEnded,
    JobStarted,
    Lease,
    Message,
    Note,
    Result,
    Returned,
)
from distilmq.protocol.usage import Usage


@dataclass(frozen=True, slots=True)
class Received:
    """The coordinator said something."""

    message: Message
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """`load()` returned.

    Attributes:
        lanes: how many batches may be worked on at once.
    """

    step: str
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class LoadRaised:
    """The step could not be rebuilt, or its `load()` raised."""

    step: str
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """The user's code is done with a batch; the lease in the answer is the one it was begun with.

    Attributes:
        lacks: of a batch that goes back because a package is missing here: what was raised.
    """

    answer: Result | Failed | Returned
    payload: Sequence[bytes] = ()
    lacks: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class AnswerCame:
    """A model answered one request of a batch in hand.

    Attributes:
        usage: what this process has had from models so far.
    """

    lease: Lease
    row: int
    key: bytes
    occurrence: int
    answer: bytes
    usage: tuple[Usage, ...] = ()


@dataclass(frozen=True, slots=True)
class JobPlanned:
    """A model is about to send requests of a batch in hand in a batch job; the lease is the one it was begun with."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A provider has taken a batch job, or it is over."""

    news: JobStarted | JobEnded


@dataclass(frozen=True, slots=True)
class DemandChanged:
    """What the models of this process could take.

    Attributes:
        limit: requests that may be out at once.
        unsent: requests that wait to be sent, with those that batches in hand will make at least.
    """

    limit: int
    unsent: int


@dataclass(frozen=True, slots=True)
class LoanWanted:
    """A model asks for its share of an account's limits."""

    borrow: Borrow


@dataclass(frozen=True, slots=True)
class FileSaved:
    """The user's code has saved an artifact, of which this is a part."""

    artifact: Artifact
    data: bytes


@dataclass(frozen=True, slots=True)
class Noted:
    """The user's code logged something."""

    note: Note


@dataclass(frozen=True, slots=True)
class TerminateAsked:
    """SIGTERM: finish what is in hand and leave; the second time, leave."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """`next_deadline()` may have been reached."""


Event = (
    Received
    | Loaded
    | LoadRaised
    | BatchEnded
    | AnswerCame
    | JobPlanned
    | JobChanged
    | DemandChanged
    | LoanWanted
    | FileSaved
    | Noted
    | TerminateAsked
    | TimePassed
)

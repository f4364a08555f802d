"""What is made durable, in the past tense. Replaying the facts of a run rebuilds the core."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages import ErrorInfo, RowFailure
from distilmq.protocol.seq_no import SeqNo
from distilmq.protocol.usage import Usage


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows `start` to `stop` of the output of one batch of a predecessor."""

    step: str
    seq_no: SeqNo
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Where rows of a batch came from, in the output of a fork further up.

    The origin is everything from row `start` of the fork's batch `first` up to row `stop` (excluded) of its
    batch `last`. `aligned`: within one batch of the fork, row for row. `closed`: no later batch of the step
    has more rows of the same origin, so a join may cut behind it.
    """

    rows: int
    first: SeqNo
    start: int
    last: SeqNo
    stop: int
    aligned: bool
    closed: bool = True


Span = tuple[tuple[str, tuple[Segment, ...]], ...]
"""For each fork that a later join needs: where the rows of the batch came from."""


@dataclass(frozen=True, slots=True)
class BatchRecorded:
    """A batch is done: its rows are in the journal, and it is never run again.

    A batch that was halved is done when all its parts are; readers of `(step, seq_no)` see its parts as one.
    """

    step: str
    seq_no: SeqNo
    part: int
    inputs: tuple[tuple[Slice, ...], ...]
    """What it took, one tuple per predecessor; a predecessor that did not take part has an empty one."""
    span: Span
    rows: int
    taken: int
    """Rows it took."""
    attempt: int
    worker: str
    last: bool = False
    """Of a generator: the end."""
    failures: tuple[RowFailure, ...] = ()
    counts: tuple[int, ...] = ()
    """Rows that came out for each row it took, where that is known and not one for each."""


@dataclass(frozen=True, slots=True)
class BatchHalved:
    """A batch that killed its workers is handed out in halves, `2 * part + 1` and `2 * part + 2`, from now on."""

    step: str
    seq_no: SeqNo
    part: int
    inputs: tuple[tuple[Slice, ...], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class RowsBuried:
    """A batch of one row that went on killing workers is given up; the worker-made None row is missing, so
    the service writes the row with None in the step's output columns."""

    step: str
    seq_no: SeqNo
    part: int
    inputs: tuple[tuple[Slice, ...], ...]
    span: Span
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class DeathCounted:
    """A worker died unexpectedly while it held the batch."""

    step: str
    seq_no: SeqNo
    part: int
    deaths: int
    attempt: int


@dataclass(frozen=True, slots=True)
class RouteRecorded:
    """The routing function's choice for a batch."""

    step: str
    seq_no: SeqNo
    successors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerRecorded:
    """A model's answer, kept until its batch is recorded. The row is named by the first slice it came from:
    batch `source` of predecessor `step_before`, row `source_row`."""

    step: str
    source: SeqNo
    source_row: int
    key: bytes
    occurrence: int


@dataclass(frozen=True, slots=True)
class UsageRecorded:
    """What one worker process has had from one model since it began: the latest one of a process counts."""

    step: str
    worker: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class LimitLearnt:
    """What an account takes, as all processes together have learnt it: the latest one of an account counts."""

    account: bytes
    places: float | None
    """Requests at once."""
    requests: float | None
    """In a minute."""
    settled: bool
    """Whether there was a sign that more requests at once bring nothing; else there may be more places."""


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request of a row, within a batch job; the row is named as that of an answer is."""

    source: SeqNo
    source_row: int
    key: bytes
    occurrence: int
    number: int
    """What it is called in the job."""
    tries: int
    """In how many jobs it has been, this one included."""


@dataclass(frozen=True, slots=True)
class JobPlanned:
    """Requests of a batch are about to go to a provider in a batch job, if they have not gone by now: of the latest
    job that is planned for a request its answer is taken. Kept until the batch is recorded."""

    step: str
    job: str
    size: int
    """Requests in the job, those of other batches included."""
    requests: tuple[PlannedRequest, ...]


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A provider has taken a batch job."""

    step: str
    job: str
    id: str
    """What the provider calls it."""


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A batch job is over at its provider."""

    step: str
    job: str


Fact = (
    BatchRecorded
    | BatchHalved
    | RowsBuried
    | DeathCounted
    | RouteRecorded
    | AnswerRecorded
    | UsageRecorded
    | LimitLearnt
    | JobPlanned
    | JobStarted
    | JobEnded
)

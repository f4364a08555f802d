"""What happened to the coordinator, in the past tense. The service makes these from messages, signals and commits."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages import Cursor, ErrorInfo, JobRequest, Lease, Lend, Loan, RowFailure
from distilmq.protocol.seq_no import SeqNo
from distilmq.protocol.usage import Usage

NO_LIMIT = Loan()


@dataclass(frozen=True, slots=True)
class SupervisorJoined:
    """A supervisor said Hello, for the first time or again."""

    session: str
    worker: str
    capacity: int


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A step process said Hello, for the first time or again after a cut or a restart of ours."""

    session: str
    worker: str
    steps: tuple[str, ...] = ()
    """What it takes; empty for any step."""
    step: str | None = None
    """What it was assigned before, when it comes back."""
    ready: bool = False
    held: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """`load()` of the step returned."""

    session: str
    step: str
    at_once: int = 1
    """Batches that it works on at the same time, at most."""


@dataclass(frozen=True, slots=True)
class BatchesWanted:
    """A step process said how many batches it wants to hold."""

    session: str
    batches: int


@dataclass(frozen=True, slots=True)
class PartWanted:
    """A step process asked for the next rows of a large batch that it holds."""

    session: str
    lease: Lease
    cursor: Cursor = ()
    """Where they begin, as the part before said."""


@dataclass(frozen=True, slots=True)
class LoanAsked:
    """A step process asked for its share of an account's limits."""

    session: str
    account: bytes
    told: Loan
    wanted: int
    out: int
    held: Loan | None
    asked: float
    borrower: int = 0
    """Which of the account's models in that process it was."""
    learnt: Loan = NO_LIMIT
    """What it has come to by what answers and refusals say, for its share."""
    share: Loan = NO_LIMIT
    """What it began from."""
    settled: bool = False
    """Whether it has seen a sign that more requests at once bring nothing."""
    leaving: bool = False
    """It needs nothing more, and has nothing out."""
    heard: float | None = None
    """When it asked for the loan that it goes by; None where it has none yet."""


@dataclass(frozen=True, slots=True)
class LoanCame:
    """Who holds the limits of accounts, where that is not the coordinator, answered a step process."""

    session: str
    lend: Lend


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """`load()` of the step raised, or a process that had loaded it lacks a package of it: the run ends with that error,
    unless another host may have what is missing."""

    session: str
    step: str
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class HostsExhausted:
    """Every host that is there, and that a process of the step would fit on, was refused."""

    step: str


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A result came in, from whoever and whenever: the core judges whether it counts."""

    session: str
    lease: Lease
    rows: int
    payload: object
    """Opaque to the core: handed back in `Record`."""
    last: bool = False
    failures: tuple[RowFailure, ...] = ()
    counts: tuple[int, ...] = ()
    """Rows that came out for each row of the input, where that is known and not one for each."""


@dataclass(frozen=True, slots=True)
class PartCame:
    """A part of a large result came in; or the result itself, without all its parts being here."""

    session: str
    lease: Lease
    part: object = None
    """Opaque to the core: handed back in `KeepPart`."""


@dataclass(frozen=True, slots=True)
class BatchFailed:
    """A batch cannot be computed: of a generator, a global step or a join that raised, the run ends."""

    session: str
    lease: Lease
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class BatchReturned:
    """A draining worker gave a batch back; no attempt is counted."""

    session: str
    lease: Lease


@dataclass(frozen=True, slots=True)
class AnswerCame:
    """A model answered one request of a batch that is still being worked on."""

    session: str
    lease: Lease
    row: int
    key: bytes
    occurrence: int
    payload: object


@dataclass(frozen=True, slots=True)
class JobPlanned:
    """A step process is about to send requests of a batch to a provider in a batch job."""

    session: str
    lease: Lease
    job: str
    size: int
    requests: tuple[JobRequest, ...]


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A provider has taken a batch job."""

    step: str
    job: str
    id: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A batch job is over at its provider."""

    step: str
    job: str


@dataclass(frozen=True, slots=True)
class UsageCame:
    """A step process told what it has had from models since it began, a total for each."""

    session: str
    step: str
    usage: tuple[Usage, ...]


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """A step process said what it holds; every message of a session counts as a sign of life as well."""

    session: str
    held: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class WorkerStalled:
    """A step process, or its supervisor, said where the user's code is with a batch that takes long."""

    session: str
    stack: str
    lease: Lease | None = None
    """None from a supervisor, which knows of no batches: the one that the process is at."""


@dataclass(frozen=True, slots=True)
class SupervisorBeat:
    """A supervisor proved its host alive, and named its living step processes."""

    session: str
    children: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A step process ended, as its supervisor says; `expected` after a Stop or a Bye."""

    session: str
    code: int
    output: str = ""
    expected: bool = False


@dataclass(frozen=True, slots=True)
class SupervisorExited:
    """The launcher saw a supervisor end, and all its step processes with it."""

    worker: str
    code: int


@dataclass(frozen=True, slots=True)
class Routed:
    """The routing function chose successors for a batch."""

    step: str
    seq_no: SeqNo
    successors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RouteFailed:
    """The routing function raised, or answered something that is no list of successors."""

    step: str
    seq_no: SeqNo
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class Committed:
    """All `Record`s given out so far up to and including this ticket are durable."""

    ticket: int


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """Nothing past the last commit is durable; the service tries again and says `Committed` when it succeeds."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """First Ctrl+C: drain, for at most `timeout` seconds."""

    timeout: float


@dataclass(frozen=True, slots=True)
class KillRequested:
    """Second Ctrl+C: end now; what is recorded stays."""


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Hand out nothing until `ResumeRequested`."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Hand out again."""


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """`next_deadline()` has passed."""


@dataclass(frozen=True, slots=True)
class SecretsMissing:
    """All steps that cannot be loaded yet, each with the fields whose secret value is not known."""

    steps: tuple[tuple[str, tuple[str, ...]], ...]


Event = (
    SupervisorJoined
    | WorkerJoined
    | WorkerReady
    | BatchesWanted
    | PartWanted
    | LoanAsked
    | LoanCame
    | LoadFailed
    | HostsExhausted
    | BatchDone
    | PartCame
    | BatchFailed
    | BatchReturned
    | AnswerCame
    | JobPlanned
    | JobStarted
    | JobEnded
    | UsageCame
    | WorkerBeat
    | WorkerStalled
    | SupervisorBeat
    | WorkerExited
    | SupervisorExited
    | Routed
    | RouteFailed
    | Committed
    | CommitFailed
    | StopRequested
    | KillRequested
    | PauseRequested
    | ResumeRequested
    | SecretsMissing
    | DeadlineReached
)

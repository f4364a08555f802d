"""What supervisors and step processes say to the coordinator (and `Hello`, which every peer says)."""

from __future__ import annotations

from typing import Literal

from distilmq.protocol.messages.values import Cursor, ErrorInfo, Lease, Message, RowFailure, SharedFile, Value, Versions
from distilmq.protocol.usage import Usage


class Hello(Message):
    """First on every connection, and the answer to `Who`."""

    kind: Literal["hello"] = "hello"
    role: Literal["supervisor", "worker", "client"]
    worker: str
    session: str
    steps: tuple[str, ...] = ()
    """The subscription: steps this process takes; empty for any."""
    capacity: int = 1
    """Of a supervisor: how many step processes it keeps."""
    step: str | None = None
    """The step this process has already been assigned, when it comes back after a cut."""
    ready: bool = False
    held: tuple[Lease, ...] = ()
    """Batches in hand and results not yet acknowledged."""
    versions: Versions = Versions()
    host: str = ""
    pid: int = 0
    parts: bool = False
    """It asks for the rows of a large batch by `FetchPart`."""


class Ready(Message):
    """The step's `load()` has returned."""

    kind: Literal["ready"] = "ready"
    session: str
    step: str
    at_once: int = 1
    """Batches that it works on at the same time, at most."""


class FetchPart(Message):
    """A step process asks for the next part of a batch that it holds; asking again does no harm."""

    kind: Literal["fetch_part"] = "fetch_part"
    session: str
    lease: Lease
    cursor: Cursor = ()
    """`BatchPart.next` of the part before; empty for the first."""


class Want(Message):
    """How many batches a step process wants to hold from here on: its models could take more, or have enough."""

    kind: Literal["want"] = "want"
    session: str
    batches: int


class LoadFailed(Message):
    """The step's code could not be rebuilt, its `load()` raised, or it came to need a package that is missing here:
    this process does not serve it."""

    kind: Literal["load_failed"] = "load_failed"
    session: str
    step: str
    error: ErrorInfo


class ResultPart(Message):
    """Output rows of a batch that are too many for one message, before the `Result` itself. One payload frame: bytes
    of an array of rows, all of them or some; what is sent one behind the other makes arrays, one behind the other."""

    kind: Literal["result_part"] = "result_part"
    session: str
    lease: Lease
    number: int
    """Which of the parts it is, from 0."""
    rows: int = 0
    """Of the array that ends with this part; 0: it goes on in the next one."""
    file: SharedFile | None = None
    """Where the bytes are if they do not follow."""


class Result(Message):
    """A batch is done. One payload frame: its output rows; none where they have come in parts."""

    kind: Literal["result"] = "result"
    session: str
    lease: Lease
    rows: int
    last: bool = False
    """Of a generator: nothing comes after this batch."""
    failures: tuple[RowFailure, ...] = ()
    counts: tuple[int, ...] = ()
    """Rows that came out for each row of the input, where that is known and not one for each."""
    seconds: float = 0.0
    usage: tuple[Usage, ...] = ()
    """What the process has had from models so far, a total for each."""
    parts: int = 0
    """`ResultPart`s that were kept before; 0 for rows that come with it."""


class Failed(Message):
    """A batch that cannot be computed: a generator or a global step raised, or its result is too large."""

    kind: Literal["failed"] = "failed"
    session: str
    lease: Lease
    error: ErrorInfo
    usage: tuple[Usage, ...] = ()
    """What the process has had from models so far, a total for each."""


class Returned(Message):
    """A worker that drains, or that lacks a package, gives a batch back unfinished; the answers it got were sent
    before."""

    kind: Literal["returned"] = "returned"
    session: str
    lease: Lease
    usage: tuple[Usage, ...] = ()
    """What the process has had from models so far, a total for each."""


class Answered(Message):
    """A model's answer, the moment it came. One payload frame: the answer."""

    kind: Literal["answered"] = "answered"
    session: str
    lease: Lease
    row: int
    """Place of the row in the batch's input, from 0."""
    key: bytes
    """Hash of model, messages, schema and parameters of substance."""
    occurrence: int = 0
    """Which of several equal requests of the row this was, from 0."""
    usage: tuple[Usage, ...] = ()
    """What the process has had from models so far, a total for each."""


class JobRequest(Value):
    """One request of a batch, within a provider's batch job."""

    row: int
    """Place of the row in the batch's input, from 0."""
    key: bytes
    occurrence: int
    """Which of several equal requests of the row it is, from 0."""
    number: int
    """What it is called in the job."""
    tries: int = 1
    """In how many jobs it has been, this one included."""


class Job(Message):
    """Requests of a batch are about to go to the provider in one of its batch jobs: the job is started once
    `JobKept` has come for each batch that has a request in it."""

    kind: Literal["job"] = "job"
    session: str
    lease: Lease
    job: str
    """What we call it: the provider keeps the name, so that the job is found by it."""
    size: int
    """Requests in the job, those of other batches included."""
    requests: tuple[JobRequest, ...]


class JobStarted(Message):
    """A provider has taken a batch job."""

    kind: Literal["job_started"] = "job_started"
    session: str
    step: str
    job: str
    id: str
    """What the provider calls it."""


class JobEnded(Message):
    """A batch job is over at the provider: there is nothing to wait for any more."""

    kind: Literal["job_ended"] = "job_ended"
    session: str
    step: str
    job: str


class Loan(Value):
    """Limits of an account, or a share of them: requests at once, and what may be sent in a minute. None: no limit."""

    places: int | None = None
    requests: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None


class Borrow(Message):
    """A step process asks for its share of an account's limits."""

    kind: Literal["borrow"] = "borrow"
    session: str
    account: bytes
    """Hash of provider, address, key and model."""
    borrower: int = 0
    """Which of the account's models in this process asks."""
    told: Loan
    """The limits of the whole account, as the user or the provider tells them."""
    wanted: int = 0
    """Requests that are out or wait."""
    out: int = 0
    held: Loan | None = None
    """What it still has of an earlier loan."""
    asked: float = 0.0
    """When, by the clock of who asks; it comes back in `Lend`."""
    learnt: Loan = Loan()
    """What it has come to by what answers and refusals say, for its share."""
    share: Loan = Loan()
    """What it began from: its share of what all have learnt, where it got one."""
    settled: bool = False
    """Whether it has seen a sign that more requests at once bring nothing."""
    leaving: bool = False
    """It needs nothing more, and has nothing out."""
    heard: float | None = None
    """The `asked` of the loan that it goes by; None where it has none yet."""


class Heartbeat(Message):
    """A supervisor's beat proves the host; a step process's beat lists what it holds."""

    kind: Literal["heartbeat"] = "heartbeat"
    session: str
    held: tuple[Lease, ...] = ()
    children: tuple[str, ...] = ()
    """Of a supervisor: the sessions of its living step processes."""
    step: str = ""
    """Of a step process: what it was assigned."""
    usage: tuple[Usage, ...] = ()
    """Of a step process: what it has had from models so far, a total for each."""


class Exited(Message):
    """A supervisor tells at once that one of its step processes ended."""

    kind: Literal["exited"] = "exited"
    session: str
    child: str
    code: int
    """As `subprocess` gives it: negative is a signal."""
    output: str = ""
    """The last lines it wrote to its standard error."""
    told: bool = False
    """It had been told to end."""


class Note(Message):
    """Something to log and, above debug level, to show: a warning of a step, a stall with its stack."""

    kind: Literal["note"] = "note"
    session: str
    step: str = ""
    level: Literal["debug", "info", "warning", "error"] = "info"
    event: str
    text: str = ""
    lease: Lease | None = None
    child: str = ""
    """Of a supervisor: the step process that it speaks of."""


class Artifact(Message):
    """A part of a file that a step saved where nobody else can read it. One payload frame: its bytes."""

    kind: Literal["artifact"] = "artifact"
    session: str
    step: str
    path: str
    """Below the step's folder, with `/` between its parts."""
    offset: int = 0
    """Of the first of these bytes."""
    last: bool = False


class Bye(Message):
    """The peer closes by its own will and holds nothing."""

    kind: Literal["bye"] = "bye"
    session: str
    reason: str = ""
    step: str = ""
    """Of a step process: what it was assigned."""
    usage: tuple[Usage, ...] = ()
    """What it has had from models so far, a total for each."""

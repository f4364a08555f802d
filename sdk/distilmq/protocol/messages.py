"""Every message on the wire: a header each, validated here; payload frames travel behind it, unread.

A message is sent as `[version, header, *payload frames]` (see `codec`). The coordinator owns one ROUTER
socket; supervisors, step processes and clients each own a DEALER. `worker` names the host's supervisor,
`session` the one connection: a process that starts again is a new session.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from distilmq.protocol.seq_no import SeqNo
from distilmq.protocol.usage import Usage, WorkerUsage


class Message(BaseModel):
    """A header: within a protocol version fields are only added, with defaults."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Value(BaseModel):
    """A part of a header."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ErrorInfo(Value):
    """An exception of the user's code, as text."""

    type: str
    message: str
    traceback: str = ""
    pickled: bytes | None = None
    """The exception by cloudpickle where it could be pickled: only a client that trusts the run reads it."""


class RowFailure(Value):
    """A row that failed, alone: it made the step raise, or the model's answer was of no use."""

    row: int
    """Place in the batch's input, from 0; of one that came `out`, in its output."""
    error: ErrorInfo
    input: bytes = b""
    """The row as it went in, encoded by `rows.encode_row` (of a join: an array of one row per branch)."""
    answer: str | None = None
    """What the model said, where it said something."""
    attempts: int = 1
    """How often it was tried: the requests that were sent for it, or the one call of a step."""
    out: bool = False
    """It is a row that came out and cannot travel; it belongs to no one row of the input."""


class Lease(Value):
    """One hand-out of one batch: `attempt` is the fencing number."""

    step: str
    seq_no: SeqNo
    part: int = 0
    attempt: int = 1


class Versions(Value):
    """What a peer runs: it is refused before anything is unpickled when they cannot work together."""

    distilmq: str = ""
    python: str = ""


# ---------------------------------------------------------------- worker to coordinator


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


class Ready(Message):
    """The step's `load()` has returned."""

    kind: Literal["ready"] = "ready"
    session: str
    step: str
    at_once: int = 1
    """Batches that it works on at the same time, at most."""


class Want(Message):
    """How many batches a step process wants to hold from here on: its models could take more, or have enough."""

    kind: Literal["want"] = "want"
    session: str
    batches: int


class LoadFailed(Message):
    """The step's code could not be rebuilt, or its `load()` raised."""

    kind: Literal["load_failed"] = "load_failed"
    session: str
    step: str
    error: ErrorInfo


class Result(Message):
    """A batch is done. One payload frame: its output rows."""

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


class Failed(Message):
    """A batch that cannot be computed: a generator or a global step raised, or its result is too large."""

    kind: Literal["failed"] = "failed"
    session: str
    lease: Lease
    error: ErrorInfo
    usage: tuple[Usage, ...] = ()
    """What the process has had from models so far, a total for each."""


class Returned(Message):
    """A draining worker gives a batch back unfinished; the answers it got were sent before."""

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
    told: Loan
    """The limits of the whole account, as the user told them."""
    wanted: int = 0
    """Requests that are out or wait."""
    out: int = 0
    held: Loan | None = None
    """What it still has of an earlier loan."""
    asked: float = 0.0
    """When, by the clock of who asks; it comes back in `Lend`."""


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


class Bye(Message):
    """The peer closes by its own will and holds nothing."""

    kind: Literal["bye"] = "bye"
    session: str
    reason: str = ""
    step: str = ""
    """Of a step process: what it was assigned."""
    usage: tuple[Usage, ...] = ()
    """What it has had from models so far, a total for each."""


# ---------------------------------------------------------------- coordinator to worker


class Welcome(Message):
    """The peer is known from here on; times in seconds, sizes in bytes."""

    kind: Literal["welcome"] = "welcome"
    run: str
    epoch: int
    heartbeat: float
    liveness: float
    max_message: int


class Refused(Message):
    """The peer cannot take part: why, and what to do."""

    kind: Literal["refused"] = "refused"
    reason: str
    fix: str = ""


class Assign(Message):
    """Tells a step process which replica of which step it is. One payload frame: the step, by cloudpickle."""

    kind: Literal["assign"] = "assign"
    step: str
    replica: int
    replicas: int = 1
    step_kind: Literal["generator", "normal", "global"] = "normal"
    signature: str = ""
    pipeline: str = ""
    stateful: bool = False
    size: int = 50
    credit: int = 2
    outputs: tuple[str, ...] = ()
    batch_timeout: float | None = None
    stall_after: float = 60.0
    python: str = ""
    """The minor version of Python that pickled the step; empty when it was checked before."""
    artifacts: str = ""
    """Folder where `save_artifact` of this step writes."""
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)
    """Dotted field of the step (`llm.api_key`) to its secret value."""


class Batch(Message):
    """Work. One payload frame per name in `inputs`, one more with the answers when `answers` is set, and one with
    the rows that are known already when `kept` is set."""

    kind: Literal["batch"] = "batch"
    lease: Lease
    inputs: tuple[str, ...] = ()
    """The predecessors whose rows follow, in order; of a routed join only those that took part."""
    rows: tuple[int, ...] = ()
    offset: int = 0
    """Of a generator: rows it has given so far, over all runs."""
    answers: bool = False
    kept: bool = False
    epoch: int = 0
    acked: tuple[Lease, ...] = ()
    """Results of the same worker that are committed: each as good as an `Ack` before this."""


class Ack(Message):
    """The result is committed: the worker may forget it."""

    kind: Literal["ack"] = "ack"
    lease: Lease


class Lend(Message):
    """A share of an account's limits: it may be used for so many seconds from when it was asked for."""

    kind: Literal["lend"] = "lend"
    account: bytes
    loan: Loan
    seconds: float
    asked: float


class Cancel(Message):
    """The batch is not wanted from this worker any more."""

    kind: Literal["cancel"] = "cancel"
    lease: Lease


class Who(Message):
    """The coordinator does not know this connection: say `Hello`."""

    kind: Literal["who"] = "who"


class Drain(Message):
    """Finish what was sent, take nothing new; what is not done after `timeout` seconds goes back."""

    kind: Literal["drain"] = "drain"
    timeout: float


class Stop(Message):
    """Unload and leave; `now` leaves what is in hand."""

    kind: Literal["stop"] = "stop"
    now: bool = False


class Slots(Message):
    """To a supervisor: keep this many step processes running."""

    kind: Literal["slots"] = "slots"
    count: int


class Kill(Message):
    """To a supervisor: end one of its step processes (it is replaced)."""

    kind: Literal["kill"] = "kill"
    child: str


# ---------------------------------------------------------------- client and coordinator


class Submit(Message):
    """A plan to run. One payload frame: the plan, by `plan.encode_plan`."""

    kind: Literal["submit"] = "submit"
    session: str


class Secrets(Message):
    """Secret values of the plan's steps, kept in memory only."""

    kind: Literal["secrets"] = "secrets"
    session: str
    values: dict[str, dict[str, str]] = Field(repr=False)
    """Step to dotted field to value."""


class Accepted(Message):
    """The plan runs."""

    kind: Literal["accepted"] = "accepted"
    run: str
    epoch: int
    resumed: int = 0
    """Batches that were already recorded."""


class Watch(Message):
    """Send `Progress` from now on."""

    kind: Literal["watch"] = "watch"
    session: str


class Control(Message):
    """`stop` drains the run, `kill` ends it at once, `pause` and `resume` hold and release hand-outs, `close`
    ends a coordinator whose run is over and whose rows were fetched."""

    kind: Literal["control"] = "control"
    session: str
    action: Literal["stop", "kill", "pause", "resume", "close"]
    timeout: float | None = None


class StepProgress(Value):
    """What the progress view shows of one step."""

    step: str
    kind: str = "normal"
    stage: int = 0
    state: Literal["waiting", "loading", "running", "stalled", "done", "failed", "reused"] = "waiting"
    batches: int = 0
    """Recorded."""
    known_batches: int = 0
    """Recorded, handed out, or cut and waiting."""
    rows: int = 0
    """Rows out."""
    rows_in: int = 0
    known_rows: int | None = None
    """Rows expected to go in; None while a generator does not know."""
    failed_rows: int = 0
    replicas: int = 0
    ready: int = 0
    note: str = ""
    models: bool = False
    """Calls models; then the next ones say what they took in all, over all starts of the run."""
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """US dollars; None when the price of a request is not known."""


class Progress(Message):
    """The state of the run, at most a few times a second."""

    kind: Literal["progress"] = "progress"
    run: str
    state: Literal["starting", "running", "draining", "paused", "done", "stopped", "failed"]
    stage: int = 0
    stages: int = 1
    stop_in: float | None = None
    """Seconds left until a draining run gives up on what is in flight."""
    waiting_for: int = 0
    """Batches in flight."""
    reason: str = ""
    resumable: bool = False
    """It is paused until somebody resumes it."""
    steps: tuple[StepProgress, ...] = ()


class Fetch(Message):
    """Rows of a step's output, in order: `credit` parts from `cursor` on."""

    kind: Literal["fetch"] = "fetch"
    session: str
    step: str
    cursor: str = ""
    """`seq_no.sort_key` of the last batch received; empty for the beginning."""
    credit: int = 8


class Rows(Message):
    """One batch of a fetch. One payload frame unless it is only the end."""

    kind: Literal["rows"] = "rows"
    step: str
    cursor: str
    rows: int
    last: bool = False
    """The step has nothing (more) behind this."""


class FetchFailures(Message):
    """The dead letters of the run, of all steps or of one."""

    kind: Literal["fetch_failures"] = "fetch_failures"
    session: str
    step: str = ""


class Failures(Message):
    """The dead letters asked for."""

    kind: Literal["failures"] = "failures"
    failures: tuple[dict[str, Any], ...]


class FetchUsage(Message):
    """What models took, in all starts of the run."""

    kind: Literal["fetch_usage"] = "fetch_usage"
    session: str


class UsageReport(Message):
    """The totals asked for, one for each step, model and worker process."""

    kind: Literal["usage_report"] = "usage_report"
    usage: tuple[WorkerUsage, ...]


class Finished(Message):
    """The run is over; its rows can still be fetched until `Control(close)`."""

    kind: Literal["finished"] = "finished"
    outcome: Literal["done", "stopped", "failed"]
    step: str = ""
    error: ErrorInfo | None = None
    loading: bool = False
    """The error came from a step's `load()`."""
    budget: Literal["", "max_cost", "max_tokens"] = ""
    """The bound that the run has reached and was stopped for."""


FromWorker = Annotated[
    Hello
    | Ready
    | Want
    | Borrow
    | LoadFailed
    | Result
    | Failed
    | Returned
    | Answered
    | Heartbeat
    | Exited
    | Note
    | Bye,
    Field(discriminator="kind"),
]
ToWorker = Annotated[
    Welcome | Refused | Assign | Batch | Ack | Lend | Cancel | Who | Drain | Stop | Slots | Kill,
    Field(discriminator="kind"),
]
FromClient = Annotated[
    Hello | Submit | Secrets | Watch | Control | Fetch | FetchFailures | FetchUsage | Bye, Field(discriminator="kind")
]
ToClient = Annotated[
    Welcome | Refused | Who | Accepted | Progress | Rows | Failures | UsageReport | Note | Finished,
    Field(discriminator="kind"),
]
FromPeer = Annotated[
    Hello
    | Ready
    | Want
    | Borrow
    | LoadFailed
    | Result
    | Failed
    | Returned
    | Answered
    | Heartbeat
    | Exited
    | Note
    | Bye
    | Submit
    | Secrets
    | Watch
    | Control
    | Fetch
    | FetchFailures
    | FetchUsage,
    Field(discriminator="kind"),
]

"""What the coordinator says to supervisors and step processes (and to clients: `Welcome`, `Refused`, `Who`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distilmq.protocol.messages.from_worker import Loan
from distilmq.protocol.messages.values import Cursor, Lease, Message, SharedFile
from distilmq.protocol.plan import DataFile, Storage


class Welcome(Message):
    """The peer is known from here on; times in seconds, sizes in bytes."""

    kind: Literal["welcome"] = "welcome"
    run: str
    epoch: int
    heartbeat: float
    liveness: float
    max_message: int
    max_part: int = 0
    """Bytes of a message with rows: a result with more comes as `ResultPart`s. 0: it takes none of these."""


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
    """Folder where `save_artifact` of this step writes; empty: into one of its own, whose files it sends."""
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)
    """Dotted field of the step (`llm.api_key`) to its secret value."""
    storage: Storage | None = None
    """By way of which its rows go."""
    run: str = ""
    """Its folder there."""
    data: tuple[DataFile, ...] = ()
    """What it has to fetch by `FetchFile` before it loads the step."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Fields of these to environment variables of the worker: where one is set, its value counts."""


class Batch(Message):
    """Work. One payload frame per name in `inputs`, and one more each, in this order: with the answers when
    `answers` is set, with the rows that are known already when `kept` is set, and with the requests that are in a
    provider's batch jobs when `jobs` is set. The rows of a large batch do not follow: the worker asks for them, see
    `parts`."""

    kind: Literal["batch"] = "batch"
    lease: Lease
    inputs: tuple[str, ...] = ()
    """The predecessors whose rows follow, in order; of a routed join only those that took part."""
    rows: tuple[int, ...] = ()
    offset: int = 0
    """Of a generator: rows it has given so far, over all runs."""
    answers: bool = False
    kept: bool = False
    jobs: bool = False
    epoch: int = 0
    acked: tuple[Lease, ...] = ()
    """Results of the same worker that are committed: each as good as an `Ack` before this."""
    parts: bool = False
    """There is no frame for the names in `inputs`: the worker asks for the rows by `FetchPart`."""
    first: bool = False
    """Of a generator that may begin here: a frame follows with the row that is recorded as its first."""


class BatchPart(Message):
    """Rows of one input of a large batch, on from where the worker asked. One payload frame: bytes that, put one
    behind the other, are the elements of that input's array; a part may end within a row."""

    kind: Literal["batch_part"] = "batch_part"
    lease: Lease
    input: int
    """Place in `Batch.inputs`."""
    cursor: Cursor = ()
    """Where it begins: what was asked for."""
    next: Cursor = ()
    """What to ask for next; empty behind the last part of the last input."""
    file: SharedFile | None = None
    """Where the bytes are if they do not follow."""


class Ack(Message):
    """The result is committed: the worker may forget it."""

    kind: Literal["ack"] = "ack"
    lease: Lease


class JobKept(Message):
    """It is recorded which requests of the batch are in a provider's batch job."""

    kind: Literal["job_kept"] = "job_kept"
    lease: Lease
    job: str
    wanted: bool = True
    """False: nobody waits for the batch any more, and its requests are to stay out of the job."""


class Lend(Message):
    """A share of an account's limits: it may be used for so many seconds from when it was asked for."""

    kind: Literal["lend"] = "lend"
    account: bytes
    borrower: int = 0
    loan: Loan
    """Of what is told: nothing may go beyond it."""
    seconds: float
    asked: float
    learnt: Loan = Loan()
    """Of what processes have learnt: where to go on learning from."""
    settled: bool = False
    """Whether one of them has seen a sign that more requests at once bring nothing."""
    full: bool = False
    """Whether what may come at once may come now: nothing was sent before by anybody."""


class PartKept(Message):
    """Parts of a result are with the coordinator: send the next ones, or the result itself."""

    kind: Literal["part_kept"] = "part_kept"
    lease: Lease
    parts: int
    """So many, from the first on without a gap. Fewer than before: the coordinator has begun anew."""


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

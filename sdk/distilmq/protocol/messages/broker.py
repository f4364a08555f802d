"""What is said to a broker, and by it: by hosts about their slots, by coordinators about their runs (and by clients,
see `runs`).

Frames that come from outside begin with an address (see `transport.addressed`): a run's id, or nothing for the
broker itself. These are the messages without an address, and those between the broker and the coordinators that it
has started. A run on one machine needs none of them, so that its processes do not import this module.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from distilmq.protocol.messages.client import Progress, Secrets
from distilmq.protocol.messages.from_worker import Borrow, Bye, Hello, Loan
from distilmq.protocol.messages.runs import (
    ControlRun,
    DataWanted,
    Denied,
    ListRuns,
    LogPart,
    ReadLog,
    ReviseRun,
    RunChanged,
    RunList,
    RunShown,
    RunStarted,
    RunState,
    ShowRun,
    StartRun,
    Unmet,
    Upload,
    Uploaded,
)
from distilmq.protocol.messages.slots import Demand, DrainHost, HostDrained, Need, Offer, ShowDemand
from distilmq.protocol.messages.to_worker import Refused, Stop, Welcome, Who
from distilmq.protocol.messages.values import Message, Value, Versions

# ---------------------------------------------------------------- hosts


class Grant(Value):
    """One slot of a host, given to one run for one step process.

    The host keeps a process for it and starts it again when it dies. A grant is over when its process left by its
    own will (exit code 0) or when the broker does not list it any more; then the host lists it no more either.
    """

    id: str
    run: str
    need: str
    """The need of that run which it serves."""
    steps: tuple[str, ...] = ()
    """What the process subscribes to."""
    cpus: int = 0
    gpus: tuple[str, ...] = ()
    memory: int = 0
    resources: dict[str, int] = Field(default_factory=dict)
    token: str = Field(default="", repr=False)
    """What the process shows to be heard by its run: see `transport.addressed`."""


class HostHello(Message):
    """First of a host, and its answer to `Who`; the broker answers `Welcome` (of no run) and `Grants`."""

    kind: Literal["host_hello"] = "host_hello"
    worker: str
    """The host's name: the `worker` of the supervisor and of all step processes that it has."""
    session: str
    offer: Offer
    steps: tuple[str, ...] = ()
    """Steps it takes; empty for any."""
    versions: Versions = Versions()
    host: str = ""
    pid: int = 0
    grants: tuple[Grant, ...] = ()
    """What it has processes for: after a restart of the broker nobody else knows."""
    heard: str = ""
    """`Grants.id` of the last list that it got."""


class HostBeat(Message):
    """A host is alive; grants whose processes are gone for good are not listed any more."""

    kind: Literal["host_beat"] = "host_beat"
    session: str
    grants: tuple[str, ...] = ()
    """Ids."""
    heard: str = ""
    """`Grants.id` of the last list that it got: what is in that list and not among these is over."""
    leaving: bool = False
    """It finishes what it has and takes nothing new."""


class Grants(Message):
    """All grants that a host is to have: what is new is started, what is missing is drained."""

    kind: Literal["grants"] = "grants"
    id: str = ""
    """Of this list; the host names it in its beats."""
    grants: tuple[Grant, ...] = ()
    worker: str = ""
    """The name that the host goes by from here on; empty for the one it has given."""


# ---------------------------------------------------------------- coordinators


class CoordinatorHello(Message):
    """First of a coordinator on its connection to the broker."""

    kind: Literal["coordinator_hello"] = "coordinator_hello"
    run: str
    epoch: int
    pid: int


class Needs(Message):
    """All needs of a run and where it stands: on change, and once a second."""

    kind: Literal["needs"] = "needs"
    needs: tuple[Need, ...] = ()
    weight: float = 1.0
    state: RunState = "running"
    progress: Progress | None = None
    reason: str = ""
    """Why it is paused, or has failed."""
    idle: bool = False
    """It is over and nobody has asked anything for a while: the coordinator may be told to leave."""


class Unfit(Message):
    """A host cannot take part in a run: it is to get no more of it."""

    kind: Literal["unfit"] = "unfit"
    worker: str
    steps: tuple[str, ...] = ()
    """That it cannot load; empty for all."""
    reason: str = ""


class Departed(Message):
    """A step process is no more: what it has of accounts goes back when its loans are over."""

    kind: Literal["departed"] = "departed"
    session: str


class Granted(Message):
    """To a coordinator: how its needs are met."""

    kind: Literal["granted"] = "granted"
    counts: dict[str, int] = Field(default_factory=dict)
    """Need to grants."""
    unmet: tuple[Unmet, ...] = ()


class Lent(Message):
    """To a coordinator: the answer to a `Borrow` that it handed on, to be said as `Lend` to who asked."""

    kind: Literal["lent"] = "lent"
    session: str
    account: bytes
    borrower: int = 0
    loan: Loan
    seconds: float
    asked: float
    learnt: Loan = Loan()
    settled: bool = False
    full: bool = False


class Stored(Message):
    """To a coordinator: secret values that the broker keeps, by the name of the environment variable."""

    kind: Literal["stored"] = "stored"
    values: dict[str, str] = Field(repr=False)


class Order(Message):
    """To a coordinator: what is wanted of its run. Saying it again changes nothing."""

    kind: Literal["order"] = "order"
    action: Literal["run", "pause", "stop", "kill", "leave"]
    """`leave` ends the coordinator of a run that is over."""
    timeout: float | None = None


ToBroker = Annotated[
    Hello
    | HostHello
    | HostBeat
    | Bye
    | StartRun
    | ReviseRun
    | Upload
    | ListRuns
    | ShowRun
    | ControlRun
    | ReadLog
    | ShowDemand
    | DrainHost,
    Field(discriminator="kind"),
]
"""From outside."""
FromBroker = Annotated[
    Welcome
    | Refused
    | Who
    | RunStarted
    | DataWanted
    | Uploaded
    | RunList
    | RunShown
    | RunChanged
    | LogPart
    | Demand
    | HostDrained
    | Denied,
    Field(discriminator="kind"),
]
"""To clients."""
ToHost = Annotated[Welcome | Refused | Who | Grants | Stop, Field(discriminator="kind")]
FromCoordinator = Annotated[CoordinatorHello | Needs | Unfit | Borrow | Departed | Secrets, Field(discriminator="kind")]
ToCoordinator = Annotated[Order | Granted | Lent | Stored | Secrets, Field(discriminator="kind")]

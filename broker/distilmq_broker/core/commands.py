"""What the core asks of the world, in the imperative. The service carries commands out in order.

A `Record` is a barrier: commands that came behind it in the core's order are held back by the core until its
`Committed` comes, so the service may carry out whatever it is given at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.protocol.messages import Cursor, ErrorInfo, Lease, Message
from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.facts import Fact, Slice


@dataclass(frozen=True, slots=True)
class Record:
    """Make a fact durable, with its payload; answer `Committed(ticket)`. Tickets count up."""

    ticket: int
    fact: Fact
    payload: object = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a session. A peer that cannot be reached is no error: the ledger decides."""

    session: str
    message: Message


@dataclass(frozen=True, slots=True)
class SendAssign:
    """Send `Assign` for a replica of a step, with the step's definition and secrets."""

    session: str
    step: str
    replica: int


@dataclass(frozen=True, slots=True)
class SendBatch:
    """Send `Batch` with the rows of these slices, and the answers recorded for them."""

    session: str
    lease: Lease
    inputs: tuple[tuple[str, tuple[Slice, ...]], ...]
    """The predecessors that take part, with what is taken of each; of a generator empty."""
    offset: int = 0
    first: tuple[Slice, ...] = ()
    """Of a generator that may begin here: the row that is recorded as its first."""


@dataclass(frozen=True, slots=True)
class KeepPart:
    """Write a part of a large result, if it is the next one, and tell its sender by `PartKept` what is here."""

    session: str
    lease: Lease
    part: object


@dataclass(frozen=True, slots=True)
class SendPart:
    """Send `BatchPart`: rows of these slices on from a place in them, which the worker has named."""

    session: str
    lease: Lease
    inputs: tuple[tuple[Slice, ...], ...]
    """Of each predecessor that takes part, what is taken."""
    cursor: Cursor = ()


@dataclass(frozen=True, slots=True)
class Route:
    """Ask the routing function of the step which successors take this batch."""

    step: str
    seq_no: SeqNo
    successors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeepSlots:
    """Have this many step processes in all: the service starts supervisors or tells them by `Slots`."""

    count: int


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End a step process that never returns: its supervisor is told by `Kill`."""

    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class RefuseHost:
    """Have no process of a step on a host any more: it cannot load the step, and others may be able to."""

    worker: str
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class SayDeparted:
    """A step process is no more: say so to whoever lends of accounts to those of several runs."""

    session: str


@dataclass(frozen=True, slots=True)
class SayPaused:
    """A step has made the run pause: say so where it is looked for later. Watching clients see it by themselves."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """The run is over: tell the client; the workers were told to leave before."""

    outcome: str
    """`done`, `stopped` or `failed`."""
    step: str = ""
    error: ErrorInfo | None = None
    loading: bool = False
    budget: str = ""
    """The bound that it was stopped for: `max_cost` or `max_tokens`."""


Command = (
    Record
    | Send
    | SendAssign
    | SendBatch
    | SendPart
    | KeepPart
    | Route
    | KeepSlots
    | KillWorker
    | RefuseHost
    | SayDeparted
    | SayPaused
    | EndRun
)

"""What the coordinator needs of the world; each port has one adapter per technology in `adapters/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from distilmq.protocol.messages import Borrow, Hello, Progress, Secrets
from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.commands import Command
from distilmq_broker.core.events import Event, SupervisorExited
from distilmq_broker.core.facts import Fact, Slice, UsageRecorded
from distilmq_broker.core.wanted import Wanted

if TYPE_CHECKING:
    from distilmq.protocol.messages.broker import CoordinatorHello, Departed, Granted, Lent, Needs, Order, Stored, Unfit

JobEntry = tuple[int, bytes, int, str, str, int, int, int, float]
"""A request in a provider's batch job: row (counted over the slices asked for), key, occurrence, what we call the job,
what the provider calls it, the request's number in it, its tries, the job's size, and when it was planned."""

AnswerEntry = tuple[int, bytes, int, bytes] | tuple[int, bytes, int, bytes, tuple[int, ...]]
"""A model's answer: row (counted over the slices asked for), key, occurrence and answer; and where the answer outlived
a failure of its batch, which of its generations were of no use."""

PlaceInSlices = tuple[int, int, int]
"""Which of some slices, which piece of what is recorded of it, and which byte of the rows in that piece."""
BEGINNING: PlaceInSlices = (0, 0, 0)


FromBroker: TypeAlias = "Order | Granted | Lent | Stored | Secrets"
ToBroker: TypeAlias = "CoordinatorHello | Needs | Unfit | Borrow | Departed | Secrets"


Payload: TypeAlias = "Sequence[bytes] | bytes | LargePayload"
"""Rows, a row and its input (of one that is given up), or rows that are on file already."""


class Clock(Protocol):
    """Seconds."""

    def monotonic(self) -> float:
        """For deadlines; never stored, never sent."""
        ...

    def wall(self) -> float:
        """For what is recorded."""
        ...


@runtime_checkable
class LargePayload(Protocol):
    """Rows of one batch that are written as they come, in pieces: each of them an array of rows.

    What is neither recorded nor held by anybody any more is removed.
    """

    @property
    def rows(self) -> int:
        """Rows in whole pieces."""
        ...

    @property
    def whole(self) -> bool:
        """Whether no piece is begun and not ended."""
        ...

    def write(self, data: bytes) -> None:
        """Adds bytes to the piece that is being written.

        Raises:
            JournalError: they cannot be written (a full disk); nothing is added, and it may be tried again.
        """
        ...

    def end_piece(self, rows: int) -> None:
        """The piece is whole, and has so many rows."""
        ...

    def abandon(self) -> None:
        """Removes it at once."""
        ...


class Journal(Protocol):
    """The durable memory of one run.

    `append` buffers; after `commit` returns everything appended before survives kill -9. Reading sees what was
    appended, committed or not.
    """

    epoch: int
    """How many coordinators have opened this run, this one included."""

    def begin_large(self) -> LargePayload:
        """A payload that is too large to be held in memory until it is whole.

        Raises:
            JournalError: there is no place for it (a full disk).
        """
        ...

    def append(self, fact: Fact, payload: Payload | None = None) -> None:
        """Adds a fact; the payload of a `BatchRecorded` is a msgpack array of rows (see `protocol.rows`), or large."""
        ...

    def commit(self) -> None:
        """Makes what was appended durable.

        Raises:
            JournalError: it is not (a full disk); what was appended is kept and may be committed again.
        """
        ...

    def facts(self) -> Iterator[Fact]:
        """Every fact that still counts, in an order that can be replayed."""
        ...

    def payload(self, step: str, seq_no: SeqNo) -> bytes:
        """The output of a recorded batch, its parts joined: a msgpack array of rows."""
        ...

    def pieces(self, step: str, seq_no: SeqNo, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """The output of a recorded batch from a row on, as much at a time as was sent at a time: how many rows they
        are, and a msgpack array of them."""
        ...

    def rows(self, slices: Iterable[Slice]) -> bytes:
        """The rows of some slices, joined: a msgpack array of rows."""
        ...

    def size(self, slices: Iterable[Slice]) -> int:
        """About how many bytes `rows` would give: of a batch of which only some rows are taken, their share."""
        ...

    def part(self, slices: Sequence[Slice], at: PlaceInSlices, most: int) -> tuple[bytes, PlaceInSlices | None]:
        """At most so many bytes of the array's elements that `rows` would give, and where they go on.

        Args:
            slices: the rows of one predecessor.
            at: where to begin; `BEGINNING` or what an earlier call gave.
            most: bytes.

        Returns:
            The bytes, and the place behind them; None behind the last.

        Raises:
            ValueError: there is no such place.
        """
        ...

    def answers(self, step: str, slices: Iterable[Slice]) -> list[AnswerEntry]:
        """Recorded answers for rows in these slices; the row is counted over the slices."""
        ...

    def kept(
        self, step: str, branches: Sequence[Sequence[Slice]]
    ) -> list[tuple[int, list[bytes], dict[str, object] | None]]:
        """Outputs that a revision has already for rows of a batch: place in its input, rows, and why it failed.

        Args:
            step: whose batch it is.
            branches: the rows it takes, per predecessor that takes part.
        """
        ...

    def in_jobs(self, step: str, slices: Iterable[Slice]) -> list[JobEntry]:
        """Requests of rows in these slices that are in providers' batch jobs."""
        ...

    def batches(self, step: str, after: str = "") -> Iterator[tuple[SeqNo, int]]:
        """Number and rows of the step's recorded batches behind a sort key, in the order of rows."""
        ...

    def failures(self, step: str = "") -> Iterator[dict[str, object]]:
        """The dead letters: step, seq_no, part, row, input, error, answer, attempts, attempt, worker, time."""
        ...

    def usage(self) -> Iterator[UsageRecorded]:
        """What models took in all starts of the run."""
        ...

    def recorded(self) -> int:
        """How many batches are recorded, adopted ones included."""
        ...

    def note_outcome(self, outcome: str) -> None:
        """Writes down how the run ended."""
        ...

    def outcome(self) -> str | None:
        """How the run ended the last time; None when no coordinator has seen an end."""
        ...

    def doubt(self) -> None:
        """Notes that a damaged record was met: the next to open the run looks for more, and repairs it."""
        ...

    def close(self) -> None:
        """Commits and closes."""
        ...


class Launcher(Protocol):
    """Starts supervisors: each runs the same `distilmq worker` program that an operator starts by hand."""

    def start(self, slots: int) -> str:
        """Starts one supervisor with so many slots; returns the name by which it will say Hello."""
        ...

    def exited(self) -> Iterable[tuple[str, int]]:
        """Supervisors that ended since the last call, with their exit codes; never blocks."""
        ...

    @property
    def running(self) -> bool:
        """Whether a supervisor has not ended yet."""
        ...

    def stop(self, *, now: bool) -> None:
        """Ends all supervisors and what they started: by SIGTERM, or at once."""
        ...


class Slots(Protocol):
    """Who keeps step processes for a run: supervisors of its own, or a broker with hosts."""

    def keep(self, count: int) -> None:
        """So many step processes are wanted in all."""
        ...

    def joined(self, hello: Hello) -> None:
        """A supervisor said Hello."""
        ...

    def ended(self) -> list[SupervisorExited]:
        """Supervisors of its own that ended since the last call."""
        ...

    def refuse(self, worker: str, step: str, reason: str) -> None:
        """A host cannot take part, or (with a step) not in that step."""
        ...

    def departed(self, session: str) -> None:
        """A step process is no more."""
        ...

    @property
    def hopeless(self) -> bool:
        """Whether supervisors of its own die before they come up, again and again."""
        ...

    def stop(self, *, now: bool) -> None:
        """No step process is wanted any more."""
        ...

    @property
    def running(self) -> bool:
        """Whether a supervisor of its own has not ended yet."""
        ...


class BrokerLine(Protocol):
    """A coordinator's line to the broker that has started it."""

    def orders(self) -> Iterable[FromBroker]:
        """What the broker said since the last call; never blocks."""
        ...

    def tell(self, message: ToBroker) -> None:
        """Says something to it."""
        ...


class Mind(Protocol):
    """What the service asks of the core: `core.coordinator.Coordinator` is the one."""

    def restore(self, facts: Iterable[Fact]) -> None:
        """Rebuilds itself from the facts of the epochs before."""
        ...

    def start(self, now: float) -> list[Command]:
        """Begins, or goes on."""
        ...

    def handle(self, event: Event, now: float) -> list[Command]:
        """What follows from an event."""
        ...

    def next_deadline(self) -> float | None:
        """When to say `DeadlineReached`."""
        ...

    def progress(self, now: float) -> Progress:
        """What is shown of the run."""
        ...

    def wanted(self) -> list[Wanted]:
        """The step processes that it wants, by step."""
        ...

    def settled(self, step: str) -> SeqNo | None:
        """Every batch of the step with a lower number is recorded; None when all there will be are."""
        ...


class Router(Protocol):
    """Runs routing functions outside the process that owns the socket and the journal."""

    def ask(self, step: str, seq_no: SeqNo, successors: tuple[str, ...]) -> None:
        """Puts a question; never blocks."""
        ...

    def fileno(self) -> int:
        """Readable when an answer waits."""
        ...

    def answers(self) -> Iterable[object]:
        """`Routed` and `RouteFailed` events that have come; never blocks."""
        ...

    def close(self) -> None:
        """Ends the process that runs the functions."""
        ...

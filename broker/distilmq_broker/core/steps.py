"""The state of one step of the run: what waits, what is out, what is done, and who works on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

from distilmq.protocol.messages import ErrorInfo
from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.buffers.buffer import Buffer
from distilmq_broker.core.chunks import Chunk
from distilmq_broker.core.failure_rate import FailureRate
from distilmq_broker.core.leases import Key, Leases
from distilmq_broker.core.numbers import END
from distilmq_broker.core.parts import Parts
from distilmq_broker.core.sources import Source
from distilmq_broker.core.topology import Place
from distilmq_broker.core.workers import Session


@dataclass(slots=True)
class Unrouted:
    """Recorded batches of a routed step whose successors are not chosen yet."""

    chunks: dict[SeqNo, Chunk] = field(default_factory=lambda: dict[SeqNo, Chunk]())
    _numbers: list[SeqNo] = field(default_factory=lambda: list[SeqNo]())

    def add(self, chunk: Chunk) -> None:
        """A batch was recorded."""
        self.chunks[chunk.seq_no] = chunk
        heappush(self._numbers, chunk.seq_no)

    def pop(self, seq_no: SeqNo) -> Chunk | None:
        """Its successors are chosen; None if it does not wait for that."""
        return self.chunks.pop(seq_no, None)

    def low(self) -> SeqNo:
        """The least number that waits; `END` if none does."""
        while self._numbers and self._numbers[0] not in self.chunks:
            heappop(self._numbers)
        return self._numbers[0] if self._numbers else END


@dataclass(slots=True)
class Counts:
    """For the progress view."""

    batches: int = 0
    rows: int = 0
    rows_in: int = 0
    failed_rows: int = 0
    nowhere: int = 0
    """Batches that were routed to no successor."""


@dataclass(slots=True, eq=False)
class StepState:
    """One step.

    Invariants: every recorded row of the predecessors that was routed here is in `buffer`, in a batch of
    `leases`, or in a recorded batch; `finished` is set once and for all, when none of the first two can come.
    """

    place: Place
    buffer: Buffer
    leases: Leases
    source: Source | None
    """Of a generator."""
    parts: Parts = field(default_factory=Parts)
    unrouted: Unrouted = field(default_factory=Unrouted)
    sessions: list[Session] = field(default_factory=lambda: list[Session]())
    """The processes assigned to it that were not told to stop."""
    deaths: dict[Key, int] = field(default_factory=lambda: dict[Key, int]())
    """Of batches that are not cut again since a restart."""
    chosen: dict[SeqNo, tuple[str, ...]] = field(default_factory=lambda: dict[SeqNo, tuple[str, ...]]())
    """Recorded choices for batches that are to be computed again: the routing function is not asked anew."""
    counts: Counts = field(default_factory=Counts)
    failure_rate: FailureRate | None = None
    """Where the user wants to be asked when too many rows fail."""
    jobs: dict[str, str] = field(default_factory=lambda: dict[str, str]())
    """Batch jobs that run at their provider: what we call each, and what the provider does."""
    load_deaths: int = 0
    load_seconds: float = 0.0
    """The longest that `load()` of one of its processes has taken so far."""
    refused: dict[str, ErrorInfo] = field(default_factory=lambda: dict[str, ErrorInfo]())
    """Hosts that lack a package of it, with the error."""
    finished: bool = False
    dirty: bool = True
    """Something happened that may let it go on."""

    @property
    def name(self) -> str:
        """The step's name."""
        return self.place.name

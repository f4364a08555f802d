"""Batches that are cut and not recorded: waiting in front, or leased to a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core import policy
from distilmq_broker.core.chunks import Cut
from distilmq_broker.core.numbers import END

Key = tuple[SeqNo, int]
"""Number and part: what names a batch within its step."""


@dataclass(slots=True, eq=False)
class Work:
    """One batch, or part of a halved one, from being cut to being recorded."""

    step: int
    part: int
    cut: Cut
    deaths: int = 0
    """Workers that died unexpectedly while they were at it."""
    attempt: int = 0
    """Which hand-out this is: the fencing number."""
    holder: str | None = None
    """Session that holds the lease."""
    since: float = 0.0
    """When it was handed out."""
    ticket: int = 0
    """The hand-out leaves once this ticket is committed."""
    missed: int = 0
    """Heartbeats of the holder, one after the other, that did not list it."""
    losses: int = 0
    """How often a hand-out was given up because of that."""

    @property
    def suspect(self) -> bool:
        """Whether it is handed out alone, so that there is no doubt of what a worker dies of."""
        return self.part > 0 or self.deaths >= policy.SUSPECT

    @property
    def key(self) -> Key:
        """Number and part."""
        return (self.cut.seq_no, self.part)


@dataclass(slots=True)
class Leases:
    """The batches of one step that are cut and not recorded.

    Invariants: a work is in `pending` until it is recorded or halved; `leased` counts those with a holder;
    `ready_rows` are the rows of those without.
    """

    watched: bool
    """Whether some step below waits for the order of rows and asks for `low`."""
    pending: dict[Key, Work] = field(default_factory=lambda: dict[Key, Work]())
    leased: int = 0
    ready_rows: int = 0
    _ready: list[tuple[SeqNo, int, int, Work]] = field(default_factory=lambda: list[tuple[SeqNo, int, int, Work]]())
    _pushed: int = 0
    _numbers: list[SeqNo] = field(default_factory=lambda: list[SeqNo]())
    _open: dict[SeqNo, int] = field(default_factory=lambda: dict[SeqNo, int]())

    def open(self, work: Work) -> None:
        """A batch is cut: it waits to be handed out."""
        seq_no = work.cut.seq_no
        self.pending[work.key] = work
        self.ready_rows += work.cut.rows
        self._push(work)
        if self.watched:
            count = self._open.get(seq_no, 0)
            self._open[seq_no] = count + 1
            if not count:
                heappush(self._numbers, seq_no)

    def close(self, work: Work) -> None:
        """A batch is recorded, or given up for its halves (which must be opened first)."""
        if work.holder is None:
            self.ready_rows -= work.cut.rows
        else:
            self.leased -= 1
        del self.pending[work.key]
        if self.watched:
            seq_no = work.cut.seq_no
            self._open[seq_no] -= 1
            if not self._open[seq_no]:
                del self._open[seq_no]
            while self._numbers and self._numbers[0] not in self._open:
                heappop(self._numbers)

    def lease(self, work: Work, session: str) -> None:
        """A waiting batch goes to a worker, and out of the way of the next one."""
        work.holder = session
        self.leased += 1
        self.ready_rows -= work.cut.rows
        self.next()

    def give_back(self, work: Work) -> None:
        """A leased batch goes back to the front: its number puts it there."""
        work.holder = None
        work.missed = 0
        self.leased -= 1
        self.ready_rows += work.cut.rows
        self._push(work)

    def next(self) -> Work | None:
        """The foremost waiting batch; it goes on waiting until it is leased."""
        while self._ready:
            seq_no, part, _, work = self._ready[0]
            if work.holder is None and self.pending.get((seq_no, part)) is work:
                return work
            heappop(self._ready)
        return None

    def low(self) -> SeqNo:
        """The least number of a batch that is cut and not recorded; `END` if there is none."""
        return self._numbers[0] if self._numbers else END

    def _push(self, work: Work) -> None:
        # The counter keeps two entries of one batch, handed out and given back, from being compared further.
        self._pushed += 1
        heappush(self._ready, (work.cut.seq_no, work.part, self._pushed, work))

"""Generators: asked for batch after batch, each batch the next of one running iteration.

A generator's process numbers nothing: it yields once for each request. So its results are only what they say if
they come from one process, in order, without a gap. On any doubt (a request that never arrived, a process that
came back) the process is ended and a new one starts at the rows recorded so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from distilmq.protocol.seq_no import SeqNo, number
from distilmq_broker.core.chunks import Cut
from distilmq_broker.core.events import BatchDone
from distilmq_broker.core.leases import Work
from distilmq_broker.core.topology import Place


def ordinal(seq_no: SeqNo) -> int | None:
    """Which batch of a generator a number means; None if it means none."""
    if len(seq_no) > 1 or any(part < 0 for part in seq_no):
        return None
    return seq_no[0] if seq_no else 0


@dataclass(slots=True)
class Source:
    """One generator.

    Invariants: batches before `recorded` are recorded; those from there up to `asked` are leased to `session`;
    results in `early` came before one that must be recorded first.
    """

    place: Place
    recorded: int = 0
    offset: int = 0
    """Rows recorded."""
    asked: int = 0
    opening: SeqNo | None = None
    """The first recorded batch that has rows."""
    ended: bool = False
    """It said that nothing comes after its last batch."""
    session: str | None = None
    previous: str | None = None
    """The session that was lost last: a result of it may still be on its way."""
    early: dict[int, BatchDone] = field(default_factory=lambda: dict[int, BatchDone]())
    deaths: dict[int, int] = field(default_factory=lambda: dict[int, int]())
    restarted: bool = False
    """Whether a process of it has died."""
    first: object = None
    """Of one that was restarted: the first rows that its present process gave."""
    repeats: int = 0
    """Processes, one after the other, that died having begun with the rows that the one before had begun with."""
    _opening: object = None
    """`first` of the process that died last."""

    @property
    def done(self) -> bool:
        """Whether it gives no more batches."""
        limit = self.place.spec.max_batches
        return self.ended or (limit is not None and self.recorded >= limit)

    @property
    def may_be_asked(self) -> bool:
        """Whether there is a process to ask, and a batch left to ask for."""
        limit = self.place.spec.max_batches
        if self.ended or self.session is None:
            return False
        return limit is None or self.asked < limit

    def ask(self) -> Work:
        """The next batch to ask for."""
        work = self._work(self.asked)
        self.asked += 1
        return work

    def admits(self, session: str, which: int) -> bool:
        """Whether a result of that session may be the batch it says it is."""
        if session == self.session:
            return self.recorded <= which < self.asked
        return self.session is None and session == self.previous and which == self.recorded

    def begin(self, session: str) -> None:
        """A process stands ready to go on behind what is recorded."""
        self.session = session
        self.first = None

    def record(self, rows: int, *, last: bool, payload: object = None) -> None:
        """Batch `recorded` came."""
        if self.restarted and rows and self.first is None:
            self.first = payload
        if rows and self.opening is None:
            self.opening = number(self.recorded)
        self.early.pop(self.recorded, None)
        self.deaths.pop(self.recorded, None)
        self.recorded += 1
        self.asked = max(self.asked, self.recorded)
        self.offset += rows
        self.ended = self.ended or last

    def lose(self) -> None:
        """Its process is gone: a new one starts behind what is recorded."""
        self.previous, self.session = self.session, None
        self.asked = self.recorded
        self.early.clear()

    def die(self, which: int) -> int:
        """Its process died of a batch; tells how many have died of it by now.

        One that begins with the same rows each time, although it was told how many are recorded, would go on for
        ever: each of its processes records something before it dies.
        """
        repeats = self.first is not None and self.first == self._opening
        self.repeats = self.repeats + 1 if repeats else 0
        self.restarted, self._opening, self.first = True, self.first, None
        self.deaths[which] = self.deaths.get(which, 0) + 1
        return self.deaths[which]

    def continues(self, held: list[int]) -> bool:
        """Whether a process that holds these batches, and no others, stands where the records end."""
        return sorted(held) == list(range(self.recorded, self.recorded + len(held)))

    def adopt(self, session: str, held: int) -> list[Work]:
        """A process that came back goes on; gives back its leases."""
        self.session = session
        self.asked = self.recorded + held
        return [self._work(which) for which in range(self.recorded, self.asked)]

    def _work(self, which: int) -> Work:
        cut = Cut(number(which), (), (), (), 0)
        return Work(self.place.index, 0, cut, deaths=self.deaths.get(which, 0), attempt=0)

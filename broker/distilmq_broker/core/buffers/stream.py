"""Input that is put together from consecutive batches of the predecessor, in the order of rows.

Batches are full, but for the last one, for those before a wall (a routed step's batch that no batch may be cut
across), and for those before rows that were taken before a restart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from distilmq.protocol.seq_no import SeqNo, position
from distilmq_broker.core.chunks import Chunk, Cut, Taken, Watermark
from distilmq_broker.core.facts import Slice
from distilmq_broker.core.numbers import END, enclosing
from distilmq_broker.core.spans import of_input

_Piece = tuple[Chunk, int, int]


@dataclass(slots=True)
class _Run:
    """Consecutive rows that may go into one batch."""

    wall: SeqNo
    pieces: deque[_Piece] = field(default_factory=lambda: deque[_Piece]())
    rows: int = 0
    closed: bool = False
    """No more rows will join: a remainder goes out as a smaller batch."""


class Stream:
    """Rows of one predecessor, in order up to its watermark."""

    def __init__(self, *, size: int, depth: int, source: int, wall: int | None, forks: tuple[str, ...]) -> None:
        self.rows = 0
        """Waiting: added and not taken."""
        self._size = size
        self._depth = depth
        self._source = source
        self._wall = wall
        self._forks = forks
        self._early: list[tuple[SeqNo, Chunk, list[tuple[int, int, bool]]]] = []
        # A heap of chunks whose forerunners have not all come.
        self._line: deque[_Run] = deque()
        self._taken = Taken()

    def add(self, branch: int, chunk: Chunk) -> None:
        """A batch of the predecessor is recorded."""
        ranges = self._taken.split(branch, chunk)
        self.rows += sum(stop - start for start, stop, taken in ranges if not taken)
        heappush(self._early, (chunk.seq_no, chunk, ranges))

    def forget(self, seq_no: SeqNo, inputs: tuple[tuple[Slice, ...], ...], rows: int) -> None:
        """Batch `seq_no`, recorded before a restart, took these rows."""
        self._taken.note(inputs)

    def take(self, watermark: Watermark) -> Cut | None:
        """The input of the next batch, if enough rows stand in order."""
        if not self.rows and not self._early:
            return None
        self._line_up(watermark(self._source))
        while self._line and self._line[0].closed and not self._line[0].rows:
            self._line.popleft()
        if not self._line:
            return None
        run = self._line[0]
        if run.rows >= self._size or (run.rows and run.closed):
            return self._cut(run, min(run.rows, self._size))
        return None

    def low(self, watermark: Watermark) -> SeqNo:
        """The least number of a batch still to be taken from what is here; `END` when nothing is."""
        for run in self._line:
            if run.pieces:
                chunk, start, _ = run.pieces[0]
                return position(chunk.seq_no, self._depth, start)
        return self._early[0][0] if self._early else END

    def _line_up(self, mark: SeqNo) -> None:
        while self._early and self._early[0][0] < mark:
            _, chunk, ranges = heappop(self._early)
            wall = () if self._wall is None else enclosing(chunk.seq_no, self._wall)
            for start, stop, taken in ranges:
                run = self._open_run(wall)
                if taken:
                    run.closed = True
                else:
                    run.pieces.append((chunk, start, stop))
                    run.rows += stop - start
        if self._line and self._ends(self._line[-1], mark):
            self._line[-1].closed = True

    def _ends(self, run: _Run, mark: SeqNo) -> bool:
        return mark == END or (self._wall is not None and enclosing(mark, self._wall) > run.wall)

    def _open_run(self, wall: SeqNo) -> _Run:
        last = self._line[-1] if self._line else None
        if last is not None and not last.closed and last.wall == wall:
            return last
        if last is not None:
            last.closed = True
        self._line.append(_Run(wall))
        return self._line[-1]

    def _cut(self, run: _Run, rows: int) -> Cut:
        pieces: list[_Piece] = []
        left = rows
        while left:
            chunk, start, stop = run.pieces.popleft()
            end = min(stop, start + left)
            if end < stop:
                run.pieces.appendleft((chunk, end, stop))
            pieces.append((chunk, start, end))
            left -= end - start
        run.rows -= rows
        self.rows -= rows
        chunk, start, _ = pieces[0]
        slices = tuple(Slice(chunk.step, chunk.seq_no, start, stop) for chunk, start, stop in pieces)
        seq_no = position(chunk.seq_no, self._depth, start)
        return Cut(seq_no, (slices,), (0,), of_input(self._forks, [pieces], even=True), rows)

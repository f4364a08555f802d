"""Input of a join without a common fork: rows are paired by their place in each branch.

A batch's number is the place of its first row. Where the branches differ in length, the last batches have
fewer rows of the shorter ones.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from distilmq.protocol.seq_no import SeqNo, number
from distilmq_broker.core.chunks import Chunk, Cut, Taken, Watermark
from distilmq_broker.core.facts import Slice
from distilmq_broker.core.numbers import END


class _Branch:
    def __init__(self, source: int) -> None:
        self.source = source
        self.early: list[tuple[SeqNo, Chunk]] = []
        self.line: deque[Slice] = deque()
        self.rows = 0
        """In order."""
        self.ended = False

    def line_up(self, mark: SeqNo) -> None:
        while self.early and self.early[0][0] < mark:
            _, chunk = heappop(self.early)
            self.line.append(Slice(chunk.step, chunk.seq_no, 0, chunk.rows))
            self.rows += chunk.rows
        self.ended = mark == END

    def take(self, rows: int) -> tuple[Slice, ...]:
        found: list[Slice] = []
        left = min(rows, self.rows)
        self.rows -= left
        while left:
            part = self.line.popleft()
            stop = min(part.stop, part.start + left)
            if stop < part.stop:
                self.line.appendleft(Slice(part.step, part.seq_no, stop, part.stop))
            found.append(Slice(part.step, part.seq_no, part.start, stop))
            left -= stop - part.start
        return tuple(found)


class Positional:
    """Rows of several predecessors, each in order up to its watermark."""

    def __init__(self, *, size: int, sources: tuple[int, ...]) -> None:
        self.rows = 0
        """Waiting: added and not taken."""
        self._size = size
        self._branches = [_Branch(source) for source in sources]
        self._at: int = 0
        self._holes: dict[int, int] = {}
        # Place of the first row to number of rows, of batches recorded before a restart.
        self._taken = Taken()

    def add(self, branch: int, chunk: Chunk) -> None:
        """A batch of a predecessor is recorded."""
        self.rows += sum(stop - start for start, stop, taken in self._taken.split(branch, chunk) if not taken)
        heappush(self._branches[branch].early, (chunk.seq_no, chunk))

    def forget(self, seq_no: SeqNo, inputs: tuple[tuple[Slice, ...], ...], rows: int) -> None:
        """Batch `seq_no`, recorded before a restart, took these rows."""
        self._taken.note(inputs)
        self._holes[seq_no[0] if seq_no else 0] = rows

    def take(self, watermark: Watermark) -> Cut | None:
        """The input of the next batch, if every branch has enough rows in order."""
        if not self.rows and not self._holes:
            return None
        for branch in self._branches:
            branch.line_up(watermark(branch.source))
        while self._at in self._holes and self._reaches(self._holes[self._at]):
            rows = self._holes.pop(self._at)
            for branch in self._branches:
                branch.take(rows)
            self._at += rows
        size = min([self._size, *(hole - self._at for hole in self._holes)])
        rows = min(size, max(branch.rows for branch in self._branches))
        if rows <= 0 or not self._reaches(size):
            return None
        seq_no = number(self._at)
        inputs = tuple(branch.take(rows) for branch in self._branches)
        self._at += rows
        self.rows -= sum(part.stop - part.start for parts in inputs for part in parts)
        return Cut(seq_no, inputs, tuple(range(len(inputs))), (), rows)

    def low(self, watermark: Watermark) -> SeqNo:
        """The number of the next batch, whether its rows are here or not."""
        return number(self._at)

    def _reaches(self, rows: int) -> bool:
        return all(branch.ended or branch.rows >= rows for branch in self._branches)

"""Input that is cut from each batch of the predecessor by itself, in whatever order the batches come.

Taken where the step's size divides its predecessor's: one slow row upstream then holds up nothing else.
"""

from __future__ import annotations

from heapq import heappop, heappush

from distilmq.protocol.seq_no import SeqNo, position
from distilmq_broker.core.chunks import Chunk, Cut, Taken, Watermark
from distilmq_broker.core.facts import Slice
from distilmq_broker.core.numbers import END
from distilmq_broker.core.spans import of_input


class Batchwise:
    """Rows of one predecessor; a remainder becomes a smaller batch."""

    def __init__(self, *, size: int, depth: int, forks: tuple[str, ...]) -> None:
        self.rows = 0
        """Waiting: added and not taken."""
        self._size = size
        self._depth = depth
        self._forks = forks
        self._waiting: list[tuple[SeqNo, int, int, Chunk]] = []
        # A heap of (number of the first row, start, stop, chunk): the foremost rows go first.
        self._taken = Taken()

    def add(self, branch: int, chunk: Chunk) -> None:
        """A batch of the predecessor is recorded."""
        for start, stop, taken in self._taken.split(branch, chunk):
            if not taken:
                self.rows += stop - start
                heappush(self._waiting, (position(chunk.seq_no, self._depth, start), start, stop, chunk))

    def forget(self, seq_no: SeqNo, inputs: tuple[tuple[Slice, ...], ...], rows: int) -> None:
        """Batch `seq_no`, recorded before a restart, took these rows."""
        self._taken.note(inputs)

    def take(self, watermark: Watermark) -> Cut | None:
        """The input of the next batch, if there is one."""
        if not self._waiting:
            return None
        seq_no, start, stop, chunk = heappop(self._waiting)
        end = min(stop, start + self._size)
        if end < stop:
            heappush(self._waiting, (position(chunk.seq_no, self._depth, end), end, stop, chunk))
        self.rows -= end - start
        inputs = ((Slice(chunk.step, chunk.seq_no, start, end),),)
        return Cut(seq_no, inputs, (0,), of_input(self._forks, [[(chunk, start, end)]], even=True), end - start)

    def low(self, watermark: Watermark) -> SeqNo:
        """The least number of a batch still to be taken from what is here; `END` when nothing is."""
        return self._waiting[0][0] if self._waiting else END

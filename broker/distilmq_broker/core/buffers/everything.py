"""Input of a global step: all rows of all predecessors, in order, as one batch."""

from __future__ import annotations

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.chunks import Chunk, Cut, Watermark
from distilmq_broker.core.facts import Slice
from distilmq_broker.core.numbers import END
from distilmq_broker.core.spans import of_input


class Everything:
    """Rows of one or several predecessors; without any row there is no batch."""

    def __init__(self, *, sources: tuple[int, ...], forks: tuple[str, ...]) -> None:
        self.rows = 0
        """Waiting: added and not taken."""
        self._sources = sources
        self._forks = forks
        self._chunks: list[list[Chunk]] = [[] for _ in sources]
        self._done = False

    def add(self, branch: int, chunk: Chunk) -> None:
        """A batch of a predecessor is recorded."""
        if not self._done:
            self.rows += chunk.rows
            self._chunks[branch].append(chunk)

    def forget(self, seq_no: SeqNo, inputs: tuple[tuple[Slice, ...], ...], rows: int) -> None:
        """The one batch was recorded before a restart."""
        self._done = True

    def take(self, watermark: Watermark) -> Cut | None:
        """The one batch, once all predecessors are finished."""
        if self._done or not self.rows or any(watermark(source) != END for source in self._sources):
            return None
        branches = [sorted(chunks, key=lambda chunk: chunk.seq_no) for chunks in self._chunks]
        inputs = tuple(tuple(Slice(chunk.step, chunk.seq_no, 0, chunk.rows) for chunk in chunks) for chunks in branches)
        pieces = [[(chunk, 0, chunk.rows) for chunk in chunks] for chunks in branches]
        rows = max(sum(chunk.rows for chunk in chunks) for chunks in branches)
        span = of_input(self._forks, pieces, even=len(branches) == 1)
        cut = Cut((), inputs, tuple(range(len(branches))), span, rows)
        self._done = True
        self.rows = 0
        self._chunks = [[] for _ in self._sources]
        return cut

    def low(self, watermark: Watermark) -> SeqNo:
        """Zero until the batch is taken: its number is known beforehand."""
        return END if self._done else ()

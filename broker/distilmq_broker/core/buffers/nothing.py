"""The input of a generator, and of a step that is finished: there is none."""

from __future__ import annotations

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.chunks import Chunk, Cut, Watermark
from distilmq_broker.core.facts import Slice
from distilmq_broker.core.numbers import END


class Nothing:
    """Takes what it is given and gives nothing."""

    rows = 0

    def add(self, branch: int, chunk: Chunk) -> None:
        """Nobody will take it."""

    def forget(self, seq_no: SeqNo, inputs: tuple[tuple[Slice, ...], ...], rows: int) -> None:
        """There is nothing to forget."""

    def take(self, watermark: Watermark) -> Cut | None:
        """Never a batch."""
        return None

    def low(self, watermark: Watermark) -> SeqNo:
        """Nothing is to come."""
        return END

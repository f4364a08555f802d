"""What goes into an input buffer and what comes out: recorded batches in, inputs of new batches out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.facts import Slice, Span

Watermark = Callable[[int], SeqNo]
"""Tells of a step, by index, the least number that a batch may have which it has not delivered yet."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A recorded batch of a predecessor, as its readers see it."""

    step: str
    seq_no: SeqNo
    rows: int
    span: Span


@dataclass(frozen=True, slots=True)
class Cut:
    """The input of one new batch."""

    seq_no: SeqNo
    inputs: tuple[tuple[Slice, ...], ...]
    """What it takes, one tuple per predecessor."""
    present: tuple[int, ...]
    """The predecessors that take part, by their place among the predecessors; one may take part without rows."""
    span: Span
    """Where the rows it takes came from."""
    rows: int
    """How many rows it takes; of several predecessors, from the one with most."""

    def origin(self, row: int) -> tuple[SeqNo, int] | None:
        """The batch that a row of the input came from, and its place there; of a join, in the first branch."""
        for part in self.inputs[self.present[0]] if self.present and row >= 0 else ():
            if row < part.stop - part.start:
                return part.seq_no, part.start + row
            row -= part.stop - part.start
        return None


Range = tuple[int, int, bool]
"""Rows `start` to `stop` of a chunk, and whether a recorded batch has taken them already."""


class Taken:
    """Rows of predecessors that batches recorded before a restart took: no new batch takes them again."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[int, SeqNo], list[tuple[int, int]]] = {}

    def note(self, inputs: tuple[tuple[Slice, ...], ...]) -> None:
        """These rows are taken."""
        for branch, slices in enumerate(inputs):
            for part in slices:
                self._ranges.setdefault((branch, part.seq_no), []).append((part.start, part.stop))

    def split(self, branch: int, chunk: Chunk) -> list[Range]:
        """The rows of a chunk in order, taken and free; what is noted of it is forgotten."""
        if not self._ranges:
            return [(0, chunk.rows, False)]
        found: list[Range] = []
        at = 0
        for start, stop in sorted(self._ranges.pop((branch, chunk.seq_no), [])):
            start, stop = max(start, at), min(stop, chunk.rows)
            if at < start:
                found.append((at, start, False))
            if start < stop:
                found.append((start, stop, True))
                at = stop
        if at < chunk.rows:
            found.append((at, chunk.rows, False))
        return found

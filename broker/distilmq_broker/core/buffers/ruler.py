"""The rows of a fork laid end to end: turns positions in its output into places that can be counted with."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from distilmq.protocol.seq_no import SeqNo, position
from distilmq_broker.core.numbers import END, enclosing, row_in


class Ruler:
    """The fork's batches in order, from the one that holds `at` on."""

    def __init__(self, depth: int) -> None:
        self.at = 0
        """Place of the first row that is not used up."""
        self.total = 0
        """Rows of the fork's batches that stand in order so far, used up ones included."""
        self.mark: SeqNo = ()
        """The fork's watermark."""
        self._depth = depth
        self._early: list[tuple[SeqNo, int]] = []
        self._bases: dict[SeqNo, tuple[int, int]] = {}
        self._order: deque[SeqNo] = deque()

    def add(self, seq_no: SeqNo, rows: int) -> None:
        """A batch of the fork is recorded, and routed if the fork routes."""
        heappush(self._early, (seq_no, rows))

    def line_up(self, mark: SeqNo) -> None:
        """Lays down the batches before the fork's watermark."""
        self.mark = mark
        while self._early and self._early[0][0] < mark:
            seq_no, rows = heappop(self._early)
            self._bases[seq_no] = (self.total, rows)
            self._order.append(seq_no)
            self.total += rows

    def move_to(self, place: int) -> None:
        """All rows before a place are used up."""
        self.at = place
        while self._order:
            base, rows = self._bases[self._order[0]]
            if base + rows > place:
                return
            del self._bases[self._order.popleft()]

    def knows(self, seq_no: SeqNo) -> bool:
        """Whether a batch of the fork lies on the ruler."""
        return seq_no in self._bases

    def place(self, seq_no: SeqNo, row: int) -> int:
        """The place of a row of a batch that lies on the ruler; `row` may be the batch's end."""
        return self._bases[seq_no][0] + row

    def reached(self, mark: SeqNo) -> int:
        """Before which place everything is delivered, by the watermark of a step below the fork."""
        if not self._order or mark >= self.mark:
            return self.total
        batch = enclosing(mark, self._depth)
        if batch in self._bases:
            base, rows = self._bases[batch]
            return base + min(row_in(mark, self._depth), rows)
        if batch > self._order[-1]:
            return self.total
        return next(self._bases[seq_no][0] for seq_no in self._order if seq_no > batch)

    def batch_at(self, place: int) -> tuple[SeqNo, int]:
        """The batch that holds the first unused place or one behind it, and the place of its end."""
        for seq_no in self._order:
            base, rows = self._bases[seq_no]
            if place < base + rows:
                return seq_no, base + rows
        raise LookupError(f"place {place} is behind the ruler's end {self.total}")

    def position(self, place: int) -> SeqNo:
        """The position, in the fork's output, of a place not used up; behind the end, what may come next."""
        if place >= self.total:
            return min(self.mark, self._early[0][0]) if self._early else self.mark
        seq_no, _ = self.batch_at(place)
        return position(seq_no, self._depth, place - self._bases[seq_no][0])

    @property
    def ended(self) -> bool:
        """Whether the fork is finished and all of it lies here."""
        return self.mark == END

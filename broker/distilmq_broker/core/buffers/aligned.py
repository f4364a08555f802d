"""Input of a join behind a fork: rows of the branches are paired by the fork's rows that they came from.

Think of the fork's rows laid end to end on a ruler. Each branch covers it with pieces: an *aligned* piece gives one
row for each row of the fork and may be cut anywhere; any other gives some rows for a stretch of the fork, all or
none of which a batch may take. Where no piece lies, the branch has no rows (they were filtered, or routed elsewhere).
The smallest span at whose end no branch has a piece that goes on is a *span*; a batch takes spans, in order, up
to the size of the step. A place is only judged once every branch's watermark has passed it, so what is cut
does not depend on who was fast.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import takewhile

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.buffers.ruler import Ruler
from distilmq_broker.core.chunks import Chunk, Cut, Range, Taken, Watermark
from distilmq_broker.core.facts import Segment, Slice
from distilmq_broker.core.numbers import enclosing
from distilmq_broker.core.spans import of_input, origins


@dataclass(slots=True)
class _Piece:
    """Rows `start` to `start + rows` of a chunk, which came from places `low` to `high` of the fork."""

    low: int
    high: int
    aligned: bool
    taken: bool
    chunk: Chunk
    start: int
    rows: int

    def rows_before(self, end: int) -> int:
        """Rows of it that go into a batch that ends at a place of the fork."""
        return min(end, self.high) - self.low if self.aligned else self.rows


class _Branch:
    def __init__(self, source: int) -> None:
        self.source = source
        self.early: list[tuple[SeqNo, Chunk, list[Range]]] = []
        self.pieces: deque[_Piece] = deque()
        self.covered = 0
        self.known = 0
        """Before this place all pieces are here."""
        self.absent: list[tuple[int, int]] = []
        """Places that were routed past this branch, sorted."""

    def line_up(self, mark: SeqNo, ruler: Ruler, fork: str) -> None:
        while self.early and self.early[0][0] < mark:
            _, chunk, ranges = self.early[0]
            if not all(ruler.knows(segment.last) for segment in origins(chunk, fork, 0, chunk.rows)):
                return
            heappop(self.early)
            for start, stop, taken in ranges:
                self._lay(chunk, start, origins(chunk, fork, start, stop), taken, ruler)
        self.known = max(self.covered, ruler.reached(mark))

    def _lay(self, chunk: Chunk, start: int, segments: tuple[Segment, ...], taken: bool, ruler: Ruler) -> None:
        for segment in segments:
            low = ruler.place(segment.first, segment.start)
            high = ruler.place(segment.last, segment.stop)
            self.pieces.append(_Piece(low, high, segment.aligned, taken, chunk, start, segment.rows))
            start += segment.rows
            # Rows come in the order of the fork's: behind an aligned row none of the same place follows.
            self.covered = high if segment.aligned else low

    def head_at(self, place: int) -> _Piece | None:
        return self.pieces[0] if self.pieces and self.pieces[0].low <= place else None

    def before(self, end: int) -> list[_Piece]:
        return list(takewhile(lambda piece: piece.low < end, self.pieces))

    def end_of_irregular(self, end: int) -> int:
        for piece in self.pieces:
            if piece.low >= end:
                break
            if not piece.aligned and piece.high > end:
                end = piece.high
        return end

    def has_absence(self, low: int, high: int) -> bool:
        while self.absent and self.absent[0][1] <= low:
            self.absent.pop(0)
        for start, stop in self.absent:
            if start > low:
                return False
            low = max(low, stop)
            if low >= high:
                return True
        return False

    def edge(self, place: int) -> int | None:
        """The next place at which an absence begins or ends."""
        for start, stop in self.absent:
            if start > place:
                return start
            if stop > place:
                return stop
        return None

    def cut(self, end: int) -> list[tuple[_Piece, int]]:
        """What lies before a place where the branch may be cut: pieces, and how many rows of each."""
        found: list[tuple[_Piece, int]] = []
        while self.pieces and self.pieces[0].low < end:
            piece = self.pieces.popleft()
            rows = piece.rows_before(end)
            if rows < piece.rows:
                rest = _Piece(end, piece.high, True, piece.taken, piece.chunk, piece.start + rows, piece.rows - rows)
                self.pieces.appendleft(rest)
                found.append((piece, rows))
            else:
                found.append((piece, piece.rows))
        return found


@dataclass(slots=True)
class _Batch:
    """The batch being put together."""

    start: SeqNo
    wall: SeqNo
    present: tuple[int, ...]
    taken: list[list[tuple[Chunk, int, int]]]
    counts: list[int]


class Aligned:
    """Rows of branches that part at one fork."""

    def __init__(
        self,
        *,
        size: int,
        fork: int,
        fork_name: str,
        depth: int,
        sources: tuple[int, ...],
        wall: int | None,
        forks: tuple[str, ...],
    ) -> None:
        self.rows = 0
        """Waiting: added and not taken."""
        self._size = size
        self._fork = fork
        self._fork_name = fork_name
        self._wall = wall
        self._forks = forks
        self._ruler = Ruler(depth)
        self._branches = [_Branch(source) for source in sources]
        self._unplaced: list[tuple[SeqNo, int, SeqNo, int, int]] = []
        self._batch: _Batch | None = None
        self._taken = Taken()

    def add(self, branch: int, chunk: Chunk) -> None:
        """A batch of the predecessor at that place is recorded, and routed here if it was routed."""
        ranges = self._taken.split(branch, chunk)
        self.rows += sum(stop - start for start, stop, taken in ranges if not taken)
        heappush(self._branches[branch].early, (chunk.seq_no, chunk, ranges))

    def measure(self, seq_no: SeqNo, rows: int) -> None:
        """A batch of the fork is recorded, and routed if the fork routes."""
        self._ruler.add(seq_no, rows)

    def pass_by(self, branch: int, segments: tuple[Segment, ...]) -> None:
        """Rows of the fork were routed past a branch."""
        for segment in segments:
            heappush(self._unplaced, (segment.last, segment.stop, segment.first, segment.start, branch))

    def forget(self, seq_no: SeqNo, inputs: tuple[tuple[Slice, ...], ...], rows: int) -> None:
        """Batch `seq_no`, recorded before a restart, took these rows."""
        self._taken.note(inputs)

    def take(self, watermark: Watermark) -> Cut | None:
        """The input of the next batch, if all spans up to its end are known."""
        self._line_up(watermark)
        while (end := self._span_end()) is not None:
            if self._pass(end):
                continue
            if (cut := self._extend(end)) is not None:
                return cut
        return self._close() if self._batch is not None and self._must_close() else None

    def low(self, watermark: Watermark) -> SeqNo:
        """The least number of a batch still to be taken, whether its rows are here or not."""
        if self._batch is not None:
            return self._batch.start
        return self._ruler.position(self._ruler.at)

    def _line_up(self, watermark: Watermark) -> None:
        self._ruler.line_up(watermark(self._fork))
        while self._unplaced and self._ruler.knows(self._unplaced[0][0]):
            last, stop, first, start, branch = heappop(self._unplaced)
            stretch = (self._ruler.place(first, start), self._ruler.place(last, stop))
            insort(self._branches[branch].absent, stretch)
        for branch in self._branches:
            branch.line_up(watermark(branch.source), self._ruler, self._fork_name)

    def _span_end(self) -> int | None:
        """Where the next span ends, or the last of a run of spans of one row each; None while it is not known."""
        at = self._ruler.at
        if at >= self._ruler.total:
            return None
        _, end = self._ruler.batch_at(at)
        for branch in self._branches:
            head = branch.head_at(at)
            if head is not None and not head.aligned:
                return self._irregular_end(at)
            end = min(end, branch.known, head.high if head else end)
            if head is None and branch.pieces:
                end = min(end, branch.pieces[0].low)
            if (edge := branch.edge(at)) is not None:
                end = min(end, edge)
        return end if end > at else None

    def _irregular_end(self, at: int) -> int | None:
        end, before = at + 1, at
        while end > before:
            before = end
            for branch in self._branches:
                end = branch.end_of_irregular(end)
        return end if all(branch.known >= end for branch in self._branches) else None

    def _pass(self, end: int) -> bool:
        """Passes a span without rows, or one that was taken before a restart."""
        at = self._ruler.at
        within = [piece for branch in self._branches for piece in branch.before(end)]
        if within and not within[0].taken:
            return False
        if within and self._batch is not None:
            return False
        for branch in self._branches:
            branch.cut(end)
            branch.has_absence(at, end)
        self._ruler.move_to(end)
        return True

    def _extend(self, end: int) -> Cut | None:
        """Puts the span, or as much of a run as fits, into the batch; gives back the batch that is full before it."""
        at = self._ruler.at
        wall = self._wall_at(at)
        heads = [branch.before(end) for branch in self._branches]
        present = tuple(
            place for place, branch in enumerate(self._branches) if heads[place] or not branch.has_absence(at, end)
        )
        batch = self._batch
        if batch is not None and (
            any(pieces and pieces[0].taken for pieces in heads) or batch.wall != wall or batch.present != present
        ):
            return self._close()
        if batch is None:
            size = len(self._branches)
            batch = _Batch(self._ruler.position(at), wall, present, [[] for _ in range(size)], [0] * size)
            self._batch = batch
        regular = all(not pieces or pieces[0].aligned for pieces in heads) and all(len(p) <= 1 for p in heads)
        if regular:
            room = self._size - max(batch.counts[place] for place, pieces in enumerate(heads) if pieces)
            end = min(end, at + room)
        else:
            sums = [
                batch.counts[place] + sum(piece.rows_before(end) for piece in pieces)
                for place, pieces in enumerate(heads)
            ]
            if max(sums) > self._size and any(batch.counts):
                end = at
        if end <= at:
            return self._close()
        self._fill(batch, end)
        return self._close() if max(batch.counts) >= self._size else None

    def _fill(self, batch: _Batch, end: int) -> None:
        for place, branch in enumerate(self._branches):
            for piece, rows in branch.cut(end):
                batch.taken[place].append((piece.chunk, piece.start, piece.start + rows))
                batch.counts[place] += rows
        self._ruler.move_to(end)

    def _must_close(self) -> bool:
        if self._batch is None:
            return False
        if self._ruler.at < self._ruler.total:
            return self._wall_at(self._ruler.at) != self._batch.wall
        if self._ruler.ended:
            return True
        return self._wall is not None and enclosing(self._ruler.mark, self._wall) > self._batch.wall

    def _wall_at(self, place: int) -> SeqNo:
        if self._wall is None:
            return ()
        batch, _ = self._ruler.batch_at(place)
        return enclosing(batch, self._wall)

    def _close(self) -> Cut | None:
        batch, self._batch = self._batch, None
        if batch is None:
            return None
        self.rows -= sum(batch.counts)
        inputs = tuple(_slices(pieces) for pieces in batch.taken)
        rows = max(batch.counts)
        even = all(batch.counts[place] == rows for place in batch.present)
        span = of_input(self._forks, batch.taken, even=even)
        return Cut(batch.start, inputs, batch.present, span, rows)


def _slices(pieces: list[tuple[Chunk, int, int]]) -> tuple[Slice, ...]:
    found: list[Slice] = []
    for chunk, start, stop in pieces:
        if found and found[-1].seq_no == chunk.seq_no and found[-1].stop == start:
            found[-1] = Slice(chunk.step, chunk.seq_no, found[-1].start, stop)
        else:
            found.append(Slice(chunk.step, chunk.seq_no, start, stop))
    return tuple(found)

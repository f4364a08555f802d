"""How input is cut into batches: by the plan, the rows and the routing, never by when something came."""

from __future__ import annotations

from collections.abc import Callable

from distilmq_broker.core.buffers.aligned import Aligned
from distilmq_broker.core.buffers.batchwise import Batchwise
from distilmq_broker.core.buffers.everything import Everything
from distilmq_broker.core.buffers.positional import Positional
from distilmq_broker.core.buffers.stream import Stream
from distilmq_broker.core.chunks import Chunk, Cut
from distilmq_broker.core.facts import Segment, Slice
from distilmq_broker.core.numbers import END

Number = tuple[int, ...]


def upto(*marks: Number) -> Callable[[int], Number]:
    """Watermarks by step; one for all when only one is given."""
    return lambda step: marks[step] if len(marks) > 1 else marks[0]


def chunk(step: str, seq_no: Number, rows: int, *segments: Segment) -> Chunk:
    return Chunk(step, seq_no, rows, (("fork", segments),) if segments else ())


def lines(seq_no: Number, start: int, stop: int) -> Segment:
    """Rows that came, one for one, from rows of one batch of the fork."""
    return Segment(stop - start, seq_no, start, seq_no, stop, aligned=True)


def lump(rows: int, first: Number, start: int, last: Number, stop: int) -> Segment:
    """Rows that came, together, from a stretch of the fork."""
    return Segment(rows, first, start, last, stop, aligned=False)


def shown(cut: Cut | None) -> object:
    if cut is None:
        return None
    return cut.seq_no, *([(part.seq_no, part.start, part.stop) for part in slices] for slices in cut.inputs)


class TestBatchwise:
    def buffer(self, size: int) -> Batchwise:
        return Batchwise(size=size, depth=1, forks=())

    def test_batches_are_cut_as_they_come_the_foremost_first(self) -> None:
        buffer = self.buffer(5)
        buffer.add(0, chunk("up", (3,), 10))
        buffer.add(0, chunk("up", (1,), 10))

        cuts = [shown(buffer.take(upto(()))) for _ in range(5)]

        assert cuts == [
            ((1,), [((1,), 0, 5)]),
            ((1, 5), [((1,), 5, 10)]),
            ((3,), [((3,), 0, 5)]),
            ((3, 5), [((3,), 5, 10)]),
            None,
        ]

    def test_a_remainder_is_a_smaller_batch(self) -> None:
        buffer = self.buffer(4)
        buffer.add(0, chunk("up", (), 6))

        assert [shown(buffer.take(upto(()))) for _ in range(2)] == [((), [((), 0, 4)]), ((0, 4), [((), 4, 6)])]

    def test_rows_taken_before_a_restart_are_not_taken_again(self) -> None:
        buffer = self.buffer(4)
        buffer.forget((0, 4), ((Slice("up", (), 4, 8),),), 4)
        buffer.add(0, chunk("up", (), 12))

        assert buffer.rows == 8
        assert [shown(buffer.take(upto(()))) for _ in range(3)] == [((), [((), 0, 4)]), ((0, 8), [((), 8, 12)]), None]


class TestStream:
    def buffer(self, size: int, wall: int | None = None) -> Stream:
        return Stream(size=size, depth=1, source=0, wall=wall, forks=())

    def test_batches_are_filled_across_upstream_batches_in_order(self) -> None:
        buffer = self.buffer(7)
        buffer.add(0, chunk("up", (1,), 5))
        assert buffer.take(upto(())) is None
        buffer.add(0, chunk("up", (), 5))

        assert shown(buffer.take(upto((2,)))) == ((), [((), 0, 5), ((1,), 0, 2)])
        assert buffer.take(upto((2,))) is None
        assert shown(buffer.take(upto(END))) == ((1, 2), [((1,), 2, 5)])

    def test_a_batch_that_never_comes_is_passed_by_the_watermark(self) -> None:
        buffer = self.buffer(7)
        buffer.add(0, chunk("up", (), 5))
        buffer.add(0, chunk("up", (4,), 5))

        assert buffer.take(upto((4,))) is None
        assert shown(buffer.take(upto((5,)))) == ((), [((), 0, 5), ((4,), 0, 2)])

    def test_no_batch_is_cut_across_a_wall(self) -> None:
        buffer = self.buffer(7, wall=1)
        buffer.add(0, chunk("up", (), 5))
        buffer.add(0, chunk("up", (2,), 5))

        assert shown(buffer.take(upto((1,)))) == ((), [((), 0, 5)])
        assert buffer.take(upto((2, 5))) is None
        assert shown(buffer.take(upto((3,)))) == ((2,), [((2,), 0, 5)])

    def test_no_batch_is_cut_across_rows_that_were_taken_before_a_restart(self) -> None:
        buffer = self.buffer(4)
        buffer.forget((0, 4), ((Slice("up", (), 4, 5), Slice("up", (1,), 0, 3)),), 4)
        buffer.add(0, chunk("up", (), 5))
        buffer.add(0, chunk("up", (1,), 5))
        buffer.add(0, chunk("up", (2,), 5))

        cuts = [shown(buffer.take(upto(END))) for _ in range(4)]

        assert cuts == [((), [((), 0, 4)]), ((1, 3), [((1,), 3, 5), ((2,), 0, 2)]), ((2, 2), [((2,), 2, 5)]), None]


class TestEverything:
    def test_all_rows_of_all_predecessors_come_in_order_as_one_batch(self) -> None:
        buffer = Everything(sources=(0, 1), forks=())
        buffer.add(0, chunk("a", (1,), 2))
        buffer.add(1, chunk("b", (), 3))
        buffer.add(0, chunk("a", (), 2))

        assert buffer.take(upto(END, (4,))) is None
        assert buffer.low(upto(END)) == ()
        assert shown(buffer.take(upto(END, END))) == ((), [((), 0, 2), ((1,), 0, 2)], [((), 0, 3)])
        assert buffer.take(upto(END, END)) is None
        assert buffer.low(upto(END)) == END

    def test_without_rows_there_is_no_batch(self) -> None:
        assert Everything(sources=(0,), forks=()).take(upto(END)) is None


class TestPositional:
    def test_rows_are_paired_by_their_place(self) -> None:
        buffer = Positional(size=3, sources=(0, 1))
        buffer.add(0, chunk("a", (), 4))
        buffer.add(1, chunk("b", (), 2))
        buffer.add(1, chunk("b", (1,), 2))

        assert shown(buffer.take(upto((1,), (2,)))) == ((), [((), 0, 3)], [((), 0, 2), ((1,), 0, 1)])
        assert buffer.take(upto((1,), (2,))) is None
        assert shown(buffer.take(upto(END, END))) == ((3,), [((), 3, 4)], [((1,), 1, 2)])

    def test_at_the_end_the_branches_may_differ_in_length(self) -> None:
        buffer = Positional(size=2, sources=(0, 1))
        buffer.add(0, chunk("a", (), 1))
        buffer.add(1, chunk("b", (), 4))

        assert buffer.take(upto((1,), END)) is None
        cuts = [shown(buffer.take(upto(END, END))) for _ in range(3)]
        assert cuts == [((), [((), 0, 1)], [((), 0, 2)]), ((2,), [], [((), 2, 4)]), None]

    def test_what_was_taken_before_a_restart_is_passed(self) -> None:
        buffer = Positional(size=2, sources=(0, 1))
        buffer.forget((2,), ((Slice("a", (), 2, 4),), (Slice("b", (), 2, 4),)), 2)
        buffer.add(0, chunk("a", (), 5))
        buffer.add(1, chunk("b", (), 5))

        cuts = [shown(buffer.take(upto(END, END))) for _ in range(3)]

        assert cuts == [((), [((), 0, 2)], [((), 0, 2)]), ((4,), [((), 4, 5)], [((), 4, 5)]), None]


class TestAligned:
    """The fork is step 0, the branches `a` and `b` are steps 1 and 2."""

    def buffer(self, size: int, *, wall: int | None = None) -> Aligned:
        return Aligned(size=size, fork=0, fork_name="fork", depth=1, sources=(1, 2), wall=wall, forks=())

    def test_branches_that_keep_rows_are_paired_row_by_row(self) -> None:
        buffer = self.buffer(4)
        buffer.measure((), 6)
        buffer.add(0, chunk("a", (), 6, lines((), 0, 6)))
        buffer.add(1, chunk("b", (), 3, lines((), 0, 3)))
        buffer.add(1, chunk("b", (0, 3), 3, lines((), 3, 6)))

        assert buffer.take(upto((1,), (1,), ())) is None
        assert shown(buffer.take(upto((1,), (1,), (1,)))) == ((), [((), 0, 4)], [((), 0, 3), ((0, 3), 0, 1)])
        assert buffer.take(upto((1,), (1,), (1,))) is None
        assert shown(buffer.take(upto(END))) == ((0, 4), [((), 4, 6)], [((0, 3), 1, 3)])

    def test_the_smallest_span_at_whose_end_all_branches_may_be_cut(self) -> None:
        buffer = self.buffer(2)
        buffer.measure((), 6)
        buffer.add(0, chunk("a", (), 6, lines((), 0, 6)))
        buffer.add(1, chunk("b", (), 1, lump(1, (), 0, (), 4)))
        buffer.add(1, chunk("b", (0, 4), 5, lump(5, (), 4, (), 6)))

        cuts = [shown(buffer.take(upto(END))) for _ in range(3)]

        assert cuts == [((), [((), 0, 4)], [((), 0, 1)]), ((0, 4), [((), 4, 6)], [((0, 4), 0, 5)]), None]

    def test_pieces_of_one_lump_are_waited_for(self) -> None:
        buffer = self.buffer(2)
        buffer.measure((), 2)
        buffer.measure((1,), 2)
        buffer.add(0, chunk("a", (), 2, lines((), 0, 2)))
        buffer.add(1, chunk("b", (), 3, lump(3, (), 0, (), 2)))

        assert buffer.take(upto((2,), (1,), (0, 0, 3))) is None
        buffer.add(1, chunk("b", (0, 0, 3), 1, lump(1, (), 0, (), 2)))
        assert shown(buffer.take(upto((2,), (1,), (1,)))) == ((), [((), 0, 2)], [((), 0, 3), ((0, 0, 3), 0, 1)])

    def test_a_branch_whose_rows_were_all_filtered_takes_part_with_none(self) -> None:
        buffer = self.buffer(10)
        buffer.measure((), 2)
        buffer.add(0, chunk("a", (), 2, lines((), 0, 2)))

        cut = buffer.take(upto(END))

        assert cut is not None
        assert shown(cut) == ((), [((), 0, 2)], [])
        assert cut.present == (0, 1)

    def test_a_branch_that_rows_were_routed_past_takes_no_part(self) -> None:
        buffer = self.buffer(10, wall=1)
        for seq_no in ((), (1,)):
            buffer.measure(seq_no, 2)
            buffer.add(0, chunk("a", seq_no, 2, lines(seq_no, 0, 2)))
        buffer.add(1, chunk("b", (), 2, lines((), 0, 2)))
        buffer.pass_by(1, (lines((1,), 0, 2),))

        both, one = buffer.take(upto(END)), buffer.take(upto(END))

        assert both is not None
        assert one is not None
        assert (shown(both), both.present) == (((), [((), 0, 2)], [((), 0, 2)]), (0, 1))
        assert (shown(one), one.present) == (((1,), [((1,), 0, 2)], []), (0,))

    def test_no_batch_is_cut_across_a_routed_fork_s_batches(self) -> None:
        buffer = self.buffer(10, wall=1)
        for seq_no in ((), (1,)):
            buffer.measure(seq_no, 2)
            for branch, name in enumerate("ab"):
                buffer.add(branch, chunk(name, seq_no, 2, lines(seq_no, 0, 2)))

        assert shown(buffer.take(upto((2,)))) == ((), [((), 0, 2)], [((), 0, 2)])
        assert shown(buffer.take(upto((2,)))) == ((1,), [((1,), 0, 2)], [((1,), 0, 2)])

    def test_rows_that_came_to_nothing_everywhere_make_no_batch(self) -> None:
        buffer = self.buffer(10)
        buffer.measure((), 5)

        assert buffer.take(upto((1,))) is None
        assert buffer.low(upto((1,))) == (1,)

    def test_spans_taken_before_a_restart_are_passed(self) -> None:
        buffer = self.buffer(2)
        buffer.forget((0, 2), ((Slice("a", (), 2, 4),), (Slice("b", (), 2, 4),)), 2)
        buffer.measure((), 6)
        for branch, name in enumerate("ab"):
            buffer.add(branch, chunk(name, (), 6, lines((), 0, 6)))

        assert buffer.rows == 8
        cuts = [shown(buffer.take(upto(END))) for _ in range(3)]
        assert cuts == [((), [((), 0, 2)], [((), 0, 2)]), ((0, 4), [((), 4, 6)], [((), 4, 6)]), None]
        assert buffer.rows == 0

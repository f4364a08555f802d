"""Labels: where rows came from, sliced and put together."""

from __future__ import annotations

from distilmq_broker.core.chunks import Chunk, Cut
from distilmq_broker.core.facts import Segment, Slice
from distilmq_broker.core.numbers import enclosing, row_in
from distilmq_broker.core.parts import halve, leaves
from distilmq_broker.core.spans import cut, halves, merge, of_input, of_output, origins

ROWS = Segment(4, (1,), 2, (1,), 6, aligned=True)
LUMP = Segment(4, (1,), 6, (2,), 1, aligned=False)


def test_the_fork_s_own_rows_come_from_themselves() -> None:
    chunk = Chunk("fork", (3,), 9, ())

    assert origins(chunk, "fork", 2, 5) == (Segment(3, (3,), 2, (3,), 5, aligned=True),)


def test_aligned_rows_are_sliced_with_their_origin_and_others_keep_the_whole() -> None:
    assert cut((ROWS, LUMP), 3, 6) == (
        Segment(1, (1,), 5, (1,), 6, aligned=True),
        Segment(2, (1,), 6, (2,), 1, aligned=False, closed=False),
    )


def test_neighbours_of_one_origin_become_one() -> None:
    first, rest = cut((ROWS, LUMP), 0, 5), cut((ROWS, LUMP), 5, 8)

    assert merge([first, rest]) == (ROWS, LUMP)


def test_a_batch_that_keeps_its_rows_keeps_their_labels() -> None:
    span = (("fork", (ROWS, LUMP)),)

    assert of_output(span, 8, 8) == span


def test_a_batch_that_does_not_is_one_lump_of_all_it_took() -> None:
    assert of_output((("fork", (ROWS, LUMP)),), 8, 3) == (("fork", (Segment(3, (1,), 2, (2,), 1, aligned=False),)),)


def test_a_join_of_even_branches_takes_the_labels_of_its_first() -> None:
    one = Chunk("a", (), 4, (("fork", (ROWS,)),))
    other = Chunk("b", (), 4, (("fork", (LUMP,)),))

    assert of_input(("fork",), [[(one, 0, 4)], [(other, 0, 4)]], even=True) == (("fork", (ROWS,)),)
    assert of_input(("fork",), [[(one, 0, 2)], [(other, 0, 4)]], even=False) == (
        ("fork", (Segment(4, (1,), 2, (2,), 1, aligned=False),)),
    )


def test_slices_are_halved_by_rows() -> None:
    assert halves((Slice("a", (), 0, 3), Slice("a", (1,), 0, 3)), 4) == (
        (Slice("a", (), 0, 3), Slice("a", (1,), 0, 1)),
        (Slice("a", (1,), 1, 3),),
    )


def test_the_first_half_is_the_larger_one_and_each_has_its_labels() -> None:
    whole = Cut((5,), ((Slice("a", (), 0, 5),),), (0,), (("fork", (Segment(5, (), 0, (), 5, aligned=True),)),), 5)

    pair = halve(whole)

    assert pair is not None
    assert [(half.rows, half.inputs[0][0].start, half.span[0][1][0].start) for half in pair] == [(3, 0, 0), (2, 3, 3)]


def test_a_join_of_uneven_branches_cannot_be_halved() -> None:
    assert halve(Cut((), ((Slice("a", (), 0, 5),), (Slice("b", (), 0, 3),)), (0, 1), (), 5)) is None


def test_the_parts_of_a_halved_batch_stand_in_the_order_of_rows() -> None:
    whole = Cut((), ((Slice("a", (), 0, 8),),), (0,), (), 8)
    first, second = halve(whole) or (whole, whole)

    found = leaves(whole, 0, {0: whole, 1: first})

    assert [(part, half.inputs[0][0].start) for part, half in found] == [(3, 0), (4, 2), (2, 4)]
    assert second.rows == 4


def test_a_number_tells_the_batch_and_row_it_starts_in() -> None:
    assert enclosing((12, 0, 5), 2) == (12,)
    assert row_in((12, 0, 5), 1) == 0
    assert row_in((12, 7, 5), 1) == 7

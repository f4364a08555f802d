"""What a revision takes again: the batches with failed rows and what was made from them, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.retaking import retaken
from tests.broker.core.scene import generator, global_step, plan_of, step

CHAIN = plan_of(generator(), step("ask", "load"), step("keep", "ask"), global_step("rank", "keep"))


def chain(batches: int) -> dict[str, dict[SeqNo, list[tuple[str, SeqNo]]]]:
    """As many batches of each step, each made from the one above."""
    numbers: list[SeqNo] = [(n,) for n in range(batches)]
    return {
        "load": {number: [] for number in numbers},
        "ask": {number: [("load", number)] for number in numbers},
        "keep": {number: [("ask", number)] for number in numbers},
        "rank": {(): [("keep", number) for number in numbers]},
    }


def test_a_failed_batch_is_taken_again_with_what_was_made_from_it() -> None:
    again = retaken(CHAIN, chain(3), {"ask": [(1,)]})

    assert again == {"ask": [(1,)], "keep": [(1,)], "rank": [()]}


def test_nothing_failed_takes_nothing_again() -> None:
    assert retaken(CHAIN, chain(3), {}) == {}


def test_a_batch_across_two_of_the_step_before_is_taken_again_when_one_of_them_is() -> None:
    recorded = {**chain(2), "keep": {(0,): [("ask", (0,)), ("ask", (1,))]}, "rank": {}}

    assert retaken(CHAIN, recorded, {"ask": [(1,)]}) == {"ask": [(1,)], "keep": [(0,)]}


def test_a_step_that_remembers_rows_is_taken_again_whole() -> None:
    plan = plan_of(generator(), step("ask", "load"), step("keep", "ask", stateful=True), global_step("rank", "keep"))

    again = retaken(plan, chain(3), {"ask": [(1,)]})

    assert again == {"ask": [(1,)], "keep": [(0,), (1,), (2,)], "rank": [()]}


def test_where_batches_are_cut_across_others_everything_behind_is_taken_again() -> None:
    plan = plan_of(generator(), step("ask", "load"), step("keep", "ask", size=7), global_step("rank", "keep"))

    again = retaken(plan, chain(3), {"ask": [(1,)]})

    assert again == {"ask": [(1,)], "keep": [(1,), (2,)], "rank": [()]}


def test_of_a_join_by_position_everything_behind_is_taken_again() -> None:
    plan = plan_of(generator("one"), generator("other"), step("ask", "one"), step("join", "ask", "other"))
    numbers: list[SeqNo] = [(0,), (10,), (20,)]
    recorded = {
        "one": {(n,): [] for n in range(3)},
        "other": {(n,): [] for n in range(3)},
        "ask": {(n,): [("one", (n,))] for n in range(3)},
        "join": {number: [("ask", (n,)), ("other", (n,))] for n, number in enumerate(numbers)},
    }

    assert retaken(plan, recorded, {"ask": [(1,)]}) == {"ask": [(1,)], "join": [(10,), (20,)]}


@given(st.integers(1, 6), st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_what_stays_was_made_from_what_stays(batches: int, asked: set[int], kept: set[int]) -> None:
    recorded = chain(batches)
    failed: dict[str, list[SeqNo]] = {"ask": [(n,) for n in sorted(asked)], "keep": [(n,) for n in sorted(kept)]}

    again = retaken(CHAIN, recorded, failed)

    for name, numbers in recorded.items():
        for number, sources in numbers.items():
            if number not in again.get(name, []):
                assert number not in failed.get(name, [])
                assert all(source not in again.get(above, []) for above, source in sources)

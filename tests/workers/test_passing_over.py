"""A generator that does not look at `offset` gives no row twice when it is begun again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilmq.steps import GeneratorStep, LoadDataFromDicts, step
from distilmq_workers.generating import Generating
from distilmq_workers.passing_over import looks_at, passed_over

Given = tuple[list[dict[str, Any]], bool]


def heedless(offset: int = 0) -> Iterator[Given]:
    yield [{"n": 0}], True


def without(start: int) -> Iterator[Given]:
    yield [{"n": start}], True


def in_a_range(offset: int = 0) -> Iterator[Given]:
    for n in range(offset, 9):
        yield [{"n": n}], False


def in_a_closure(offset: int = 0) -> Iterator[Given]:
    rows = [row for row in range(9) if (lambda: row >= offset)()]
    yield [{"n": row} for row in rows], True


def by_any_name(offset: int = 0) -> Iterator[Given]:
    yield [{"n": vars()["offset"]}], True


def by_all_names(**options: Any) -> Iterator[Given]:
    yield [{"n": options.get("offset")}], True


@pytest.mark.parametrize(
    ("function", "looks"),
    [
        (heedless, False),
        (without, False),
        (in_a_range, True),
        (in_a_closure, True),
        (by_any_name, True),
        (by_all_names, True),
        (partial(heedless), True),
        (print, True),
    ],
)
def test_a_function_says_whether_it_looks_at_a_parameter(function: Callable[..., Any], *, looks: bool) -> None:
    assert looks_at(function, "offset") is looks


def test_steps_of_both_kinds_say_it() -> None:
    class Heedless(GeneratorStep):
        def process(self, offset: int = 0) -> Iterator[Given]:  # type: ignore[override]
            yield [{"n": 0}], True

    made = step(outputs=["n"], step_type="generator")(heedless)

    for heeds, generator in ((False, Heedless()), (False, made()), (True, LoadDataFromDicts(data=[{"n": 1}]))):
        assert looks_at(generator._process_function(), "offset") is heeds  # as the runner asks it


@given(sizes=st.lists(st.integers(0, 4), max_size=8), data=st.data())
def test_as_many_rows_as_are_recorded_are_passed_over(sizes: list[int], data: st.DataObject) -> None:
    numbers = iter(range(sum(sizes)))
    batches = [[{"n": next(numbers)} for _ in range(size)] for size in sizes]
    recorded = data.draw(st.integers(1, sum(sizes) + 2))
    pairs = [(batch, place == len(batches) - 1) for place, batch in enumerate(batches)]

    found = list(passed_over(iter(pairs), recorded, lambda row: row == {"n": 0}))

    assert [row["n"] for rows, _ in found for row in rows] == list(range(recorded, sum(sizes)))
    assert [last for _, last in found][-1:] == [True] * bool(sizes)


def test_rows_of_one_that_keeps_its_place_elsewhere_are_all_new() -> None:
    pairs: list[Given] = [([], False), ([{"n": 7}], False), ([{"n": 0}], True)]

    assert list(passed_over(iter(pairs), 7, lambda row: row == {"n": 0})) == pairs


def test_only_one_that_is_begun_again_and_does_not_heed_its_offset_is_looked_at() -> None:
    def begin(offset: int) -> Iterator[Given]:
        yield from (([{"n": n}], n == 4) for n in range(5))

    def taken(offset: int, *, heeds: bool, known: bool = True) -> list[int]:
        generating = Generating(begin, heeds=heeds)
        is_first = (lambda row: row == {"n": 0}) if known else None
        return [row["n"] for number in range(2) for row in generating.take(number, offset, is_first)[0]]

    assert taken(3, heeds=False) == [3, 4]
    assert taken(0, heeds=False) == taken(3, heeds=True) == taken(3, heeds=False, known=False) == [0, 1]

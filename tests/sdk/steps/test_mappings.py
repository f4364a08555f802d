"""Mappings rename columns around `process` and never show outside."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from distilmq.steps import Step, StepInput, StepOutput
from distilmq.steps.mappings import Mappings

COLUMNS = ["a", "b", "c", "d"]

rows_of_numbers = st.lists(st.dictionaries(st.sampled_from(COLUMNS), st.integers()), max_size=6)
some_mappings = st.dictionaries(st.sampled_from([*COLUMNS, "x", "y"]), st.sampled_from(COLUMNS))


class Measured(Step):
    """Gives what it is asked for each row: so many rows with their number."""

    times: int = 1

    @property
    def inputs(self) -> list[str]:
        return ["text"]

    @property
    def outputs(self) -> list[str]:
        return ["length"]

    def process(self, inputs: StepInput) -> StepOutput:
        yield [
            {**row, "length": len(row["text"]) + number}
            for row in inputs
            if row["text"]
            for number in range(self.times)
        ]


def results(step: Step, *inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for rows in step.process_applying_mappings(*inputs) for row in rows]


@given(rows_of_numbers, some_mappings)
def test_rows_that_a_step_passes_on_come_out_as_they_went_in(
    rows: list[dict[str, Any]], inputs: dict[str, str]
) -> None:
    mappings = Mappings(inputs, {}, [])

    assert [mappings.after(dict(mappings.before(row))) for row in rows] == rows


@given(rows_of_numbers, some_mappings, st.sampled_from([0, 1, 3]))
def test_rows_that_are_dropped_or_multiplied_keep_their_own_columns(
    rows: list[dict[str, Any]], inputs: dict[str, str], times: int
) -> None:
    mappings = Mappings(inputs, {"new": "named"}, ["new"])

    given_out = [
        mappings.after({**mappings.before(row), "new": number}) for row in reversed(rows) for number in range(times)
    ]

    assert given_out == [{**row, "named": number} for row in reversed(rows) for number in range(times)]


@given(rows_of_numbers, some_mappings, st.sampled_from(COLUMNS))
def test_a_produced_column_changes_and_all_others_stay(
    rows: list[dict[str, Any]], inputs: dict[str, str], produced: str
) -> None:
    mappings = Mappings(inputs, {}, [produced])

    given_out = [mappings.after({**mappings.before(row), produced: "made"}) for row in rows]

    assert given_out == [{**row, produced: "made"} for row in rows]


@given(rows_of_numbers, some_mappings)
def test_a_step_sees_under_its_own_name_what_the_column_holds(
    rows: list[dict[str, Any]], inputs: dict[str, str]
) -> None:
    mappings = Mappings(inputs, {}, [])

    for row in rows:
        seen = mappings.before(row)
        assert {name: seen.get(name) for name in inputs} == {name: row.get(inputs[name]) for name in inputs}


def test_a_step_reads_another_column_and_the_column_keeps_its_name() -> None:
    step = Measured(input_mappings={"text": "prompt"}, output_mappings={"length": "letters"})

    assert results(step, [{"prompt": "abc"}]) == [{"prompt": "abc", "letters": 3}]


def test_a_column_hidden_by_the_renaming_comes_back_for_each_of_several_rows() -> None:
    step = Measured(input_mappings={"text": "prompt"}, times=2)

    given_out = results(
        step, [{"prompt": "abc", "text": "first"}, {"prompt": "", "text": "?"}, {"prompt": "d", "text": 2}]
    )

    assert given_out == [
        {"prompt": "abc", "text": "first", "length": 3},
        {"prompt": "abc", "text": "first", "length": 4},
        {"prompt": "d", "text": 2, "length": 1},
        {"prompt": "d", "text": 2, "length": 2},
    ]


def test_one_column_feeds_two_inputs() -> None:
    mappings = Mappings({"question": "prompt", "context": "prompt"}, {}, [])

    seen = mappings.before({"prompt": 1})

    assert seen == {"question": 1, "context": 1}
    assert mappings.after(seen) == {"prompt": 1}


def test_an_output_named_like_a_column_takes_its_place() -> None:
    mappings = Mappings({}, {"generation": "response"}, ["generation"])

    assert mappings.after({"response": "old", "generation": "new"}) == {"response": "new"}
    assert mappings.after({"generation": "new", "response": "old"}) == {"response": "new"}


def test_rows_that_go_in_are_not_changed() -> None:
    rows = [{"prompt": "abc", "text": "own"}]

    results(Measured(input_mappings={"text": "prompt"}), rows)

    assert rows == [{"prompt": "abc", "text": "own"}]

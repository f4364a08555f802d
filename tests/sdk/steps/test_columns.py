"""The column steps put rows together row by row, and lose nothing on the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from distilmq.errors import JoinError
from distilmq.steps import CombineOutputs, ExpandColumns, GroupColumns, KeepColumns, MergeColumns, Step


def results(step: Step, *inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for rows in step.process_applying_mappings(*inputs) for row in rows]


def test_grouped_columns_become_lists_and_others_stay() -> None:
    step = GroupColumns(columns=["generation", "model_name"], output_columns=["generations", "model_names"])

    rows = results(
        step,
        [{"id": 1, "generation": "a", "model_name": "x"}, {"id": 2, "generation": "b", "model_name": "x"}],
        [{"id": 1, "generation": "c", "model_name": "y"}, {"id": 2, "generation": None, "model_name": "y"}],
    )

    assert rows == [
        {"id": 1, "generations": ["a", "c"], "model_names": ["x", "y"]},
        {"id": 2, "generations": ["b", None], "model_names": ["x", "y"]},
    ]


@pytest.mark.parametrize("step", [GroupColumns(columns=["a"]), CombineOutputs()])
def test_of_columns_that_several_give_the_last_counts(step: Step) -> None:
    [row] = results(step, [{"a": 1, "model_name": "x", "id": 7}], [{"a": 2, "model_name": "y"}])

    assert (row["model_name"], row["id"]) == ("y", 7)


def test_groups_are_named_after_their_columns() -> None:
    step = GroupColumns(columns=["a"])

    assert (step.outputs, results(step, [{"a": 1}])) == (["grouped_a"], [{"grouped_a": [1]}])


def test_groups_need_as_many_names_as_columns() -> None:
    with pytest.raises(ValidationError, match="`output_columns` has to name as many columns as `columns`: 2, not 1"):
        GroupColumns(columns=["a", "b"], output_columns=["c"])


@pytest.mark.parametrize("step", [GroupColumns(name="join", columns=["a"]), CombineOutputs(name="join")])
def test_nothing_is_zipped_short(step: Step) -> None:
    assert step.equal_inputs

    with pytest.raises(JoinError, match=r"Step 'join' joins rows one by one.*'input 0' gave 2, 'input 1' gave 1 rows"):
        results(step, [{"a": 1}, {"a": 2}], [{"a": 3}])


def test_a_group_of_one_model_per_row_is_a_group_of_one() -> None:
    assert results(GroupColumns(columns=["a"]), [{"a": 1}, {"a": 2}]) == [{"grouped_a": [1]}, {"grouped_a": [2]}]


def test_metadata_of_joined_rows_is_merged() -> None:
    step = GroupColumns(columns=["a"])

    rows = results(
        step,
        [{"a": 1, "distilmq_metadata": {"raw_output_x": "1", "seed": 1}}],
        [{"a": 2, "distilmq_metadata": {"raw_output_y": "2", "seed": 1}}],
        [{"a": 3, "distilmq_metadata": {"seed": 2}}],
    )

    assert rows == [
        {"grouped_a": [1, 2, 3], "distilmq_metadata": {"raw_output_x": "1", "seed": [1, 2], "raw_output_y": "2"}}
    ]


def test_combined_rows_have_the_columns_of_all() -> None:
    rows = results(
        CombineOutputs(),
        [{"id": 1, "a": 1, "distilmq_metadata": {"x": 1}}],
        [{"id": 1, "b": 2}],
        [{"id": 1, "c": 3, "distilmq_metadata": {"y": 2}}],
    )

    assert rows == [{"id": 1, "a": 1, "b": 2, "c": 3, "distilmq_metadata": {"x": 1, "y": 2}}]


def test_kept_columns_come_in_the_order_asked_for() -> None:
    rows = results(KeepColumns(columns=["b", "a"]), [{"a": 1, "b": 2, "c": 3, "distilmq_metadata": {"x": 1}}])

    assert [list(row.items()) for row in rows] == [[("b", 2), ("a", 1), ("distilmq_metadata", {"x": 1})]]


def test_merged_columns_are_one_list() -> None:
    step = MergeColumns(columns=["a", "b"])

    assert results(step, [{"a": [1, 2], "b": 3, "c": 4}]) == [{"c": 4, "merged_column": [1, 2, 3]}]


def test_a_row_per_item_of_a_list() -> None:
    step = ExpandColumns(columns=["a"])

    assert results(step, [{"a": [1, 2], "b": 3}, {"a": [4], "b": 5}]) == [
        {"b": 3, "a": 1},
        {"b": 3, "a": 2},
        {"b": 5, "a": 4},
    ]


def test_lists_are_expanded_side_by_side_under_other_names() -> None:
    step = ExpandColumns(columns={"questions": "question", "answers": None})

    assert results(step, [{"questions": ["a", "b"], "answers": ["c"]}]) == [
        {"questions": ["a", "b"], "question": "a", "answers": "c"},
        {"questions": ["a", "b"], "question": "b", "answers": None},
    ]


@pytest.mark.parametrize("nothing", [None, []])
def test_a_row_without_items_stays_one_row(nothing: Any) -> None:
    assert results(ExpandColumns(columns=["a"]), [{"a": nothing, "b": 1}]) == [{"b": 1, "a": None}]


def test_encoded_lists_are_decoded() -> None:
    rows = [{"a": "[1, 2]", "b": ["[x", "y]"]}]

    assert results(ExpandColumns(columns=["a"], encoded=True), [{"a": "[1, 2]"}]) == [{"a": 1}, {"a": 2}]
    assert results(ExpandColumns(columns=["a", "b"], encoded=["a"]), rows) == [{"a": 1, "b": "[x"}, {"a": 2, "b": "y]"}]


def test_what_is_no_list_cannot_be_expanded() -> None:
    with pytest.raises(ValueError, match="column 'a' of step 'expand' holds a 'int', not a list"):
        results(ExpandColumns(name="expand", columns=["a"]), [{"a": 1}])


@given(st.integers(0, 1000), st.integers(1, 7))
def test_split_statistics_keep_their_sum(tokens: int, items: int) -> None:
    step = ExpandColumns(columns=["a"], split_statistics=True)
    metadata = {"statistics_task": {"input_tokens": tokens, "output_tokens": [tokens]}, "raw_output_task": "x"}

    rows = results(step, [{"a": list(range(items)), "distilmq_metadata": metadata}])

    shares = [row["distilmq_metadata"]["statistics_task"] for row in rows]
    assert sum(share["input_tokens"] for share in shares) == tokens
    assert all(row["distilmq_metadata"]["raw_output_task"] == "x" for row in rows)


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (GroupColumns(columns=["a"], output_columns=["as"]), ["b", "c", "as"]),
        (CombineOutputs(), ["a", "b", "c"]),
        (KeepColumns(columns=["c", "a"]), ["c", "a"]),
        (MergeColumns(columns=["a", "b"], output_column="m"), ["c", "m"]),
        (ExpandColumns(columns={"a": "x"}), ["a", "b", "c", "x"]),
        (ExpandColumns(columns={"a": "b"}), ["a", "b", "c"]),
        (ExpandColumns(columns=["a"]), ["a", "b", "c"]),
        (ExpandColumns(columns=["x"], input_mappings={"x": "a"}), ["a", "b", "c", "x"]),
        (KeepColumns(columns=["x"], input_mappings={"x": "a"}, output_mappings={"x": "y"}), ["y"]),
    ],
)
def test_steps_say_which_columns_they_keep(step: Step, kept: list[str]) -> None:
    rows = results(step, [{"a": [1], "b": 2, "c": 3}])

    assert step.kept_columns(["a", "b", "c"]) == kept
    assert sorted(rows[0]) == sorted(kept)

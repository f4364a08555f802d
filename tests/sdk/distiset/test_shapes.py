"""Joining shapes: the schema follows from the rows, not from how they were cut into batches."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilmq.dataset.inference import infer
from distilmq.dataset.shapes import Mixed, Nothing, Record, Sequence, Text, Whole, join, settle

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2) | st.datetimes() | st.timedeltas()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)
COLUMNS = st.lists(VALUES, max_size=5)


def same(one: Any, other: Any) -> bool:
    """Equal shapes; of mixed ones only that both are, for the reason names what came first."""
    return (isinstance(one, Mixed) and isinstance(other, Mixed)) or one == other


@given(one=COLUMNS, other=COLUMNS)
def test_cutting_a_column_does_not_change_its_shape(one: list[Any], other: list[Any]) -> None:
    assert same(join(infer(one), infer(other)), infer(one + other))


@given(one=COLUMNS, other=COLUMNS)
def test_the_order_of_rows_does_not_matter(one: list[Any], other: list[Any]) -> None:
    assert same(join(infer(one), infer(other)), join(infer(other), infer(one)))


@given(one=COLUMNS, two=COLUMNS, three=COLUMNS)
def test_the_order_of_joining_does_not_matter(one: list[Any], two: list[Any], three: list[Any]) -> None:
    a, b, c = infer(one), infer(two), infer(three)

    assert same(join(join(a, b), c), join(a, join(b, c)))


@given(column=COLUMNS)
def test_a_shape_joined_with_itself_stays(column: list[Any]) -> None:
    assert join(infer(column), infer(column)) == infer(column)


@given(column=COLUMNS)
def test_none_adds_nothing(column: list[Any]) -> None:
    assert infer([None, *column, None]) == infer(column)
    assert join(Nothing(), infer(column)) == infer(column)


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([], Nothing()),
        ([{}], Record({})),
        ([[]], Sequence(Nothing(), 0)),
        ([["a"], ["b", "c"]], Sequence(Text())),
        ([{"a": 1}, {"b": "x"}], Record({"a": Whole(1, 1, True), "b": Text()})),
    ],
)
def test_values_have_a_shape(values: list[Any], shape: Any) -> None:
    assert infer(values) == shape


@pytest.mark.parametrize(
    ("values", "path", "reason"),
    [
        ([{"a": [{"b": 1}]}, {"a": [{"b": "x"}]}], ("a", "[]", "b"), "int and str do not join"),
        ([{"a": 2**64}], ("a",), "integers beyond 64 bits"),
        ([[dt.time(1, tzinfo=dt.UTC)]], ("[]",), "time with time zone"),
        ([{f"k{n}": 1 for n in range(1001)}], (), "dicts with more than 1000 different keys"),
        (
            [dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(-dt.timedelta(hours=9)))],
            (),
            "datetime outside of the years",
        ),
        ([dt.timedelta.max], (), "timedelta beyond 64 bits"),
        ([{"x": np.array([1]), "y": "\ud800"}], ("y",), "str with lone surrogates"),
    ],
)
def test_what_no_type_holds_is_mixed_and_says_where(values: list[Any], path: tuple[str, ...], reason: str) -> None:
    shape = settle(infer(values))

    assert isinstance(shape, Mixed)
    assert shape.path == path
    assert reason in shape.reason

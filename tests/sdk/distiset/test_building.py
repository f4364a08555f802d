"""Values that go in come out, up to the widening that the docs name."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import datasets
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from distilmq.distiset import build_distiset
from tests.sdk.distiset.rows import build, build_column, payloads

BERLIN = ZoneInfo("Europe/Berlin")

UNCHANGED: dict[str, list[Any]] = {
    "bools": [True, None, False],
    "integers": [1, -(2**63), 2**63 - 1],
    "unsigned integers": [2**64 - 1, 0],
    "floats": [1.5, math.inf, -0.0, 1e300],
    "text": ["a", "ü", "", None, "\x00"],
    "bytes": [b"\x00\xff", b""],
    "nothing": [None, None],
    "lists": [[1, 2], [], None],
    "lists of lists": [[[1.5], []], [], [None]],
    "empty lists": [[], []],
    "empty dicts": [{}, None, {}],
    "empty dicts in dicts": [{"a": {}}, {"a": {}}],
    "empty dicts in lists": [[{}, {}], []],
    "dicts": [{"a": 1, "b": [{"c": "x"}]}, {"a": None, "b": []}],
    "dates": [dt.date(2026, 1, 31), dt.date(1, 1, 1)],
    "times": [dt.time(23, 59, 59, 999999)],
    "naive datetimes": [dt.datetime(2026, 1, 1, 12, 30, 15, 5), dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)],
    "datetimes in UTC": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)],
    "datetimes in a zone": [dt.datetime(2026, 1, 1, tzinfo=BERLIN), dt.datetime(2026, 7, 1, tzinfo=BERLIN)],
    "datetimes with an offset": [dt.datetime(2026, 1, 1, tzinfo=dt.timezone(-dt.timedelta(hours=3, minutes=30)))],
    "time spans": [dt.timedelta(days=-3, microseconds=7)],
    "decimals": [Decimal("1.25"), Decimal("-1E+3"), Decimal("0.001")],
    "long decimals": [Decimal("1" * 30 + "." + "2" * 30)],
}


@pytest.mark.parametrize("values", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_values_of_one_type_come_out_as_they_went_in(values: list[Any], tmp_path: Path) -> None:
    built = build_column(values, tmp_path)

    assert built.column("x") == values
    assert built.warnings == []


WIDENED: dict[str, tuple[list[Any], list[Any]]] = {
    "int with float": ([1, 2.5, None], [1.0, 2.5, None]),
    "a large int that a float holds": ([2**60, 0.5], [float(2**60), 0.5]),
    "tuples": ([(1, 2), [3]], [[1, 2], [3]]),
    "missing fields": (
        [{"a": 1}, {"b": "x"}, {}],
        [{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": None, "b": None}],
    ),
    "missing fields in lists": ([[{"a": 1}], [{"b": 2}]], [[{"a": 1, "b": None}], [{"a": None, "b": 2}]]),
    "None then dict": ([None, {"a": 1}], [None, {"a": 1}]),
    "empty list then list": ([[], ["x"]], [[], ["x"]]),
    "numpy scalars": ([np.int8(1), np.float32(0.5)], [1.0, 0.5]),
    "zones": (
        [dt.datetime(2026, 1, 1, tzinfo=BERLIN), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)],
        [dt.datetime(2026, 1, 1, tzinfo=BERLIN), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)],
    ),
    "what pandas says is missing": (
        [pd.Timestamp("2026-01-01"), pd.NaT, pd.NA, None],
        [pd.Timestamp("2026-01-01"), None, None, None],
    ),
    "missing values within others": ([{"a": (pd.NA, 1)}, {"a": [pd.NaT]}], [{"a": [None, 1]}, {"a": [None]}]),
    "missing values in an array": ([np.array([1, pd.NA], dtype=object)], [[1, None]]),
    "nothing but missing values": ([pd.NaT, pd.NA], [None, None]),
    "nanoseconds": ([pd.Timestamp("2026-01-01 00:00:00.000000001")], [pd.Timestamp("2026-01-01 00:00:00.000000001")]),
}


@pytest.mark.parametrize(("values", "expected"), WIDENED.values(), ids=WIDENED.keys())
def test_types_that_join_are_widened(values: list[Any], expected: list[Any], tmp_path: Path) -> None:
    built = build_column(values, tmp_path)

    assert built.column("x") == expected
    assert built.warnings == []


def test_uuids_are_text(tmp_path: Path) -> None:
    value = uuid.uuid4()

    assert build_column([value, None], tmp_path).column("x") == [str(value), None]


MIXED: dict[str, tuple[list[Any], list[Any], str]] = {
    "int and text": ([1, "1", None], [1, "1", None], "int (row 0), str (row 1)"),
    "bool and int": ([True, 1], [True, 1], "bool (row 0), int (row 1)"),
    "complex numbers in arrays": ([np.array([1 + 2j])], [["(1+2j)"]], "complex (row 0)"),
    "beyond 64 bits": ([2**64, 1], [2**64, 1], "int beyond 64 bits (row 0), int (row 1)"),
    "an int no float holds": (
        [2**53 + 1, 0.5],
        [2**53 + 1, 0.5],
        "int that no float holds exactly (row 0), float (row 1)",
    ),
    "list and dict": ([[1], {"a": 1}], [[1], {"a": 1}], "list (row 0), dict (row 1)"),
    "naive and aware": (
        [dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)],
        ["2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00"],
        "datetime (row 0), datetime with time zone (row 1)",
    ),
    "not finite decimals": ([Decimal("NaN"), Decimal(1)], ["NaN", "1"], "Decimal that is not finite (row 0)"),
    "text and bytes": (["a", b"a"], ["a", "YQ=="], "str (row 0), bytes (row 1)"),
    "deep inside": (
        [[{"a": 1}], [{"a": "x"}]],
        [[{"a": 1}], [{"a": "x"}]],
        "at x[].a. It holds int (row 0), str (row 1)",
    ),
}


@pytest.mark.parametrize(("values", "expected", "said"), MIXED.values(), ids=MIXED.keys())
def test_types_that_do_not_join_are_json_text_with_a_warning(
    values: list[Any], expected: list[Any], said: str, tmp_path: Path
) -> None:
    built = build_column(values, tmp_path)

    assert built.features["x"] == datasets.Value("string")
    assert [None if text is None else json.loads(text) for text in built.column("x")] == expected
    assert len(built.warnings) == 1
    assert "Column 'x' of 'leaf' is written as JSON text" in built.warnings[0]
    assert said in built.warnings[0]


def test_a_warning_counts_rows_over_all_batches(tmp_path: Path) -> None:
    built = build_column([*range(9), "nine"], tmp_path)

    assert "int (rows 0, 1, 2 and 6 more), str (row 9)" in built.warnings[0]


def test_other_columns_keep_their_types_beside_a_mixed_one(tmp_path: Path) -> None:
    built = build([{"x": 1, "y": 1}, {"x": "a", "y": 2}], tmp_path)

    assert built.features["y"] == datasets.Value("int64")


def test_columns_stand_in_the_order_in_which_rows_first_had_them(tmp_path: Path) -> None:
    built = build([{"b": 1}, {"a": 2, "b": 3}, {"c": 4}], tmp_path)

    assert built.rows.column_names == ["b", "a", "c"]
    assert built.rows[1] == {"b": 3, "a": 2, "c": None}


def test_arrays_of_one_shape_keep_it(tmp_path: Path) -> None:
    arrays = [np.arange(6, dtype="float32").reshape(2, 3), np.ones((2, 3), dtype="float32")]

    built = build_column(arrays, tmp_path)

    assert built.features["x"] == datasets.Array2D(shape=(2, 3), dtype="float32")
    back = built.rows.with_format("numpy")["x"][:]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, np.stack(arrays))


@pytest.mark.parametrize(
    ("arrays", "feature"),
    [
        ([np.zeros((2, 3)), np.ones((1, 3))], datasets.Array2D(shape=(None, 3), dtype="float64")),
        ([np.zeros((2, 3)), np.ones((2, 2))], datasets.List(datasets.List(datasets.Value("float64")))),
        ([np.zeros(2, dtype="int16"), np.ones(3, dtype="int16")], datasets.List(datasets.Value("int16"))),
        ([np.zeros((1, 2, 3, 4), dtype="uint8")], datasets.Array4D(shape=(1, 2, 3, 4), dtype="uint8")),
        ([np.zeros((2, 2), dtype="int64"), [[1.5]]], datasets.List(datasets.List(datasets.Value("float64")))),
    ],
)
def test_arrays_of_several_shapes_are_nested_lists(arrays: list[Any], feature: Any, tmp_path: Path) -> None:
    built = build_column(arrays, tmp_path)

    assert built.features["x"] == feature
    assert built.column("x") == [array.tolist() if isinstance(array, np.ndarray) else array for array in arrays]


def test_arrays_inside_of_dicts_keep_their_shape(tmp_path: Path) -> None:
    built = build_column([{"v": np.eye(2)}, {"v": None, "id": uuid.UUID(int=1)}], tmp_path)

    assert built.features["x"]["v"] == datasets.Array2D(shape=(2, 2), dtype="float64")
    assert built.column("x") == [{"v": [[1, 0], [0, 1]], "id": None}, {"v": None, "id": str(uuid.UUID(int=1))}]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK"])
def test_images_keep_each_pixel(mode: str, tmp_path: Path) -> None:
    image = Image.new(mode, (3, 2))
    image.putpixel((1, 1), tuple([7] * len(image.getbands())) if len(image.getbands()) > 1 else 1)

    built = build_column([image, None], tmp_path)

    assert isinstance(built.features["x"], datasets.Image)
    back = built.column("x")
    assert back[0].mode == mode
    assert back[0].tobytes() == image.tobytes()
    assert back[1] is None


def test_images_in_lists_are_images(tmp_path: Path) -> None:
    built = build_column([[Image.new("RGB", (2, 2))], []], tmp_path)

    assert built.features["x"] == datasets.List(datasets.Image())
    assert built.column("x")[0][0].size == (2, 2)


KEPT: dict[str, tuple[list[Any], Any]] = {
    "class labels": ([0, 1, None], datasets.ClassLabel(names=["no", "yes"])),
    "small integers": ([1, -128], datasets.Value("int8")),
    "single floats": ([0.5, math.inf], datasets.Value("float32")),
    "large strings": (["a"], datasets.Value("large_string")),
    "seconds": ([dt.datetime(2026, 1, 1)], datasets.Value("timestamp[s]")),
    "fixed lists": ([[1.0, 2.0], [0.5, 0.0]], datasets.List(datasets.Value("float32"), length=2)),
    "arrays": ([[[1, 2], [3, 4]]], datasets.Array2D(shape=(2, 2), dtype="int32")),
    "dicts": ([{"a": 1}], {"a": datasets.Value("int32"), "b": datasets.Value("string")}),
    "nothing": ([None], datasets.Value("string")),
    "json": ([{"a": 1}, [1], "x"], datasets.Json()),
    "undecoded images": ([{"bytes": b"x", "path": None}], datasets.Image(decode=False)),
    "translations": ([{"de": "ja", "en": "yes"}, None], datasets.Translation(languages=["en", "de"])),
}


@pytest.mark.parametrize(("values", "feature"), KEPT.values(), ids=KEPT.keys())
def test_features_of_given_data_are_kept(values: list[Any], feature: Any, tmp_path: Path) -> None:
    built = build_column(values, tmp_path, feature=feature)

    assert built.features["x"] == feature
    assert built.warnings == []
    if not isinstance(feature, dict):
        assert built.column("x") == values


@pytest.mark.parametrize(
    ("values", "feature"),
    [
        ([2], datasets.ClassLabel(names=["no", "yes"])),
        ([128], datasets.Value("int8")),
        ([0.1], datasets.Value("float32")),
        ([dt.datetime(2026, 1, 1, 0, 0, 0, 1)], datasets.Value("timestamp[s]")),
        ([[1.0]], datasets.List(datasets.Value("float32"), length=2)),
        (["x"], datasets.Value("int64")),
        ([{"c": 1}], {"a": datasets.Value("int64")}),
    ],
)
def test_features_that_would_change_a_value_are_not_kept(values: list[Any], feature: Any, tmp_path: Path) -> None:
    built = build_column(values, tmp_path, feature=feature)

    assert built.features["x"] != feature
    assert built.column("x") == values


def test_a_leaf_without_rows_has_its_known_columns(tmp_path: Path) -> None:
    built = build([], tmp_path, columns=["a", "b"], features={"b": datasets.Value("string")})

    assert len(built.rows) == 0
    assert built.features == {"a": datasets.Value("null"), "b": datasets.Value("string")}


def test_empty_rows_of_known_columns_are_rows(tmp_path: Path) -> None:
    assert list(build([{}, {}], tmp_path, columns=["a"]).rows) == [{"a": None}, {"a": None}]


def test_metadata_is_kept_whatever_is_asked(tmp_path: Path) -> None:
    rows = [{"a": 1, "distilmq_metadata": {"error_x": "ValueError: no"}}, {"a": 2, "distilmq_metadata": {}}]

    distiset = build_distiset({"leaf": payloads(rows)}, directory=tmp_path, enable_metadata=False)

    assert distiset["default"]["train"]["distilmq_metadata"][:] == [{"error_x": "ValueError: no"}, {"error_x": None}]


def test_the_only_leaf_is_called_default(tmp_path: Path) -> None:
    assert list(build_distiset({"one": payloads([{"a": 1}])}, directory=tmp_path)) == ["default"]


def test_several_leaves_keep_their_names_and_order(tmp_path: Path) -> None:
    distiset = build_distiset({"b": payloads([{"x": 1}]), "a": payloads([{"x": 2}])}, directory=tmp_path)

    assert {leaf: splits["train"][0] for leaf, splits in distiset.items()} == {"b": {"x": 1}, "a": {"x": 2}}
    assert list(distiset) == ["b", "a"]


def test_the_rows_lie_in_parquet_files_that_datasets_loads(tmp_path: Path) -> None:
    build([{"a": n, "e": {}} for n in range(5)], tmp_path)

    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "data/leaf/*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )

    assert loaded[:] == {"a": list(range(5)), "e": [{}] * 5}


def test_building_again_replaces_the_files(tmp_path: Path) -> None:
    first = build([{"a": 1}], tmp_path).rows
    second = build([{"a": 2}], tmp_path).rows

    assert (first[0], second[0]) == ({"a": 1}, {"a": 2})
    assert [path.name for path in (tmp_path / "data").iterdir() if not path.name.startswith(".")] == ["leaf"]
    assert [path.name for path in (tmp_path / "data/.arrow").iterdir()] == ["leaf"]


def test_in_memory_needs_no_files_afterwards(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "dry"
    distiset = build_distiset({"leaf": payloads([{"a": 1}])}, directory=folder, keep_in_memory=True)
    shutil.rmtree(folder)

    assert distiset["default"]["train"].map(lambda row: {"b": row["a"] + 1})[0] == {"a": 1, "b": 2}


def test_a_late_row_widens_the_schema_of_all_shards(tmp_path: Path) -> None:
    # Several megabytes, so that it is spooled, read in chunks and read again.
    rows: list[dict[str, Any]] = [{"id": n, "text": "x" * 1000, "meta": None, "n": n} for n in range(12_000)]
    rows.append({"id": 12_000, "text": "last", "meta": {"a": [1]}, "n": 0.5, "late": "here"})

    built = build_distiset({"leaf": payloads(rows, 500)}, directory=tmp_path)["default"]["train"]

    assert built[11_999] == {"id": 11_999, "text": "x" * 1000, "meta": None, "n": 11_999.0, "late": None}
    assert built[12_000] == {"id": 12_000, "text": "last", "meta": {"a": [1]}, "n": 0.5, "late": "here"}
    assert built["id"][:] == list(range(12_001))


def test_a_payload_of_all_rows_is_read_in_chunks(tmp_path: Path) -> None:
    rows = [{"id": n, "text": "x" * 1000} for n in range(12_000)]

    built = build_distiset({"leaf": payloads(rows, 12_000)}, directory=tmp_path)["default"]["train"]

    assert built["id"][:] == list(range(12_000))


def test_a_leaf_called_like_a_parent_folder_stays_inside(tmp_path: Path) -> None:
    distiset = build_distiset({"..": payloads([{"a": 1}]), "b": []}, directory=tmp_path / "run")

    assert distiset[".."]["train"][0] == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.dates(),
    st.datetimes(),
    st.uuids(),
    st.decimals(places=2, allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(["p", "q", "r"]), VALUES, max_size=3), min_size=1, max_size=6)


def jsonable(value: Any) -> Any:
    """What JSON text of a value reads back as."""
    import base64

    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dt.date():
            return value.isoformat()
        case uuid.UUID() | Decimal():
            return str(value)
        case list():
            return [jsonable(item) for item in value]
        case dict():
            return {key: jsonable(item) for key, item in value.items()}
        case _:
            return value


def same(went_in: Any, came_out: Any) -> bool:
    """Whether a value came out as it went in, up to documented widening."""
    match went_in:
        case None:
            return came_out is None
        case bool():
            return came_out is went_in
        case float() if math.isnan(went_in):
            return isinstance(came_out, float) and math.isnan(came_out)
        case uuid.UUID():
            return came_out == str(went_in)
        case list():
            return len(went_in) == len(came_out) and all(map(same, went_in, came_out))
        case dict():
            return (
                isinstance(came_out, dict)
                and all(same(went_in.get(key), item) for key, item in came_out.items())
                and set(went_in) <= set(came_out)
            )
        case _:
            return came_out == went_in and (type(came_out) is type(went_in) or isinstance(came_out, float))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_rows_come_out_as_they_went_in(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    # A table without columns has no rows either.
    assume(any(rows))

    built = build(rows, tmp_path)

    for went_in, came_out in zip(rows, built.rows, strict=True):
        assert set(went_in) <= set(came_out)
        for column, value in came_out.items():
            text = any(f"Column '{column}'" in warning for warning in built.warnings)
            given_value = went_in.get(column)
            if text and given_value is not None:
                assert same(jsonable(given_value), json.loads(value))
            else:
                assert same(given_value, value)

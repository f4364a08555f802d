"""Rows come out of the wire as they went in, or say which column cannot."""

from __future__ import annotations

import datetime as dt
import enum
import math
import resource
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pydantic import BaseModel

from distilmq.errors import RemoteProtocolError, RowTypeError
from distilmq.protocol import row_types, rows

ZONES = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30)), ZoneInfo("Europe/Berlin")])
TEXT = st.text(alphabet=st.characters())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**63, max_value=2**70),
    st.floats(allow_nan=False),
    TEXT,
    st.binary(max_size=20),
    st.datetimes(timezones=ZONES),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)
ROWS = st.dictionaries(TEXT, VALUES, max_size=5)


def there_and_back(value: object) -> object:
    return rows.decode_row(rows.encode_row({"column": value}))["column"]


def types_in(value: object) -> object:
    if isinstance(value, dict):
        return {key: types_in(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [types_in(item) for item in value]
    return type(value)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Person(BaseModel):
    name: str
    born: dt.date


@given(ROWS)
def test_a_row_comes_out_as_it_went_in(row: dict[str, object]) -> None:
    decoded = rows.decode_row(rows.encode_row(row))

    assert decoded == row
    assert types_in(decoded) == types_in(row)
    assert list(decoded) == list(row)


@given(st.lists(ROWS, max_size=6))
def test_a_payload_is_split_and_joined_without_decoding_a_row(many: list[dict[str, object]]) -> None:
    payload = rows.encode_rows(many)

    parts = rows.split_payload(payload)

    assert [rows.decode_row(part) for part in parts] == many
    assert rows.join_rows(parts) == payload
    assert rows.decode_rows(payload) == many


@given(
    hnp.arrays(
        dtype=st.one_of(
            hnp.scalar_dtypes(), hnp.unicode_string_dtypes(), hnp.array_dtypes(allow_subarrays=False, max_size=3)
        ),
        shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_an_array_keeps_its_shape_its_type_and_its_bytes(array: np.ndarray) -> None:
    array = np.asarray(array)

    decoded = there_and_back(array)

    assert isinstance(decoded, np.ndarray)
    assert (decoded.dtype, decoded.shape, decoded.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert decoded.flags.writeable


@pytest.mark.parametrize(
    "scalar",
    [np.float32(1.5), np.int8(-3), np.bool_(True), np.str_("text"), np.datetime64("2024-05-01T10", "h"), np.float64(2)],
)
def test_a_numpy_scalar_stays_one(scalar: np.generic) -> None:
    decoded = there_and_back({"deep": [scalar]})

    assert decoded == {"deep": [scalar]}
    assert type(decoded["deep"][0]) is type(scalar)  # type: ignore[index]


def test_an_array_of_objects_keeps_its_values() -> None:
    array = np.array([[1, "two"], [None, (3, 4)]], dtype=object)

    decoded = there_and_back(array)

    assert decoded.dtype == object  # type: ignore[union-attr]
    assert decoded.tolist() == array.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "HSV"])
def test_an_image_keeps_every_pixel(mode: str) -> None:
    image = Image.effect_noise((7, 5), 80).convert("RGB" if mode in {"P", "HSV"} else "L").convert(mode)

    decoded = there_and_back(image)

    assert isinstance(decoded, Image.Image)
    assert (decoded.mode, decoded.size, decoded.tobytes()) == (image.mode, image.size, image.tobytes())
    assert decoded.convert("RGBA").tobytes() == image.convert("RGBA").tobytes() if mode == "P" else True


@pytest.mark.parametrize(
    "stamp",
    [
        pd.Timestamp("2024-02-29 10:11:12.123456789"),
        pd.Timestamp("2024-02-29", tz="Asia/Shanghai"),
        pd.Timestamp("2024-02-29").as_unit("s"),
        pd.Timestamp("2024-10-27 02:30", tz=dt.timezone(dt.timedelta(hours=-3))),
        pd.Timedelta("3 days 1ns"),
    ],
)
def test_a_pandas_time_keeps_its_unit_and_zone(stamp: pd.Timestamp) -> None:
    decoded = there_and_back(stamp)

    assert decoded == stamp
    assert type(decoded) is type(stamp)
    assert decoded.unit == stamp.unit  # type: ignore[union-attr]
    assert str(getattr(decoded, "tz", None)) == str(getattr(stamp, "tz", None))


def test_what_pandas_misses_stays_missing() -> None:
    assert there_and_back([pd.NaT, pd.NA]) == [pd.NaT, pd.NA] or there_and_back(pd.NA) is pd.NA


def test_enums_and_models_become_plain_values() -> None:
    row = {"colour": Colour.RED, "level": Level.HIGH, "person": Person(name="Ada", born=dt.date(1815, 12, 10))}

    assert rows.decode_row(rows.encode_row(row)) == {
        "colour": "red",
        "level": 3,
        "person": {"name": "Ada", "born": dt.date(1815, 12, 10)},
    }


def test_odd_numbers_and_broken_text_survive() -> None:
    decoded = there_and_back([math.nan, math.inf, -0.0, 2**64, -(2**63) - 1, "half \ud83d of a pair"])

    assert math.isnan(decoded[0])  # type: ignore[index]
    assert decoded[1:] == [math.inf, 0.0, 2**64, -(2**63) - 1, "half \ud83d of a pair"]  # type: ignore[index]
    assert math.copysign(1, decoded[2]) == -1  # type: ignore[index]


def test_a_time_keeps_its_zone_and_its_fold() -> None:
    late = dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)

    decoded = there_and_back(late)

    assert (decoded.utcoffset(), decoded.fold, decoded.tzinfo) == (late.utcoffset(), 1, late.tzinfo)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "column", "type_name", "instead"),
    [
        ({"tags": {"b", "a"}}, "answer.tags", "set", "a sorted list"),
        ([1, {"x": object()}], "answer.1.x", "object", "plain values"),
        (bytearray(b"x"), "answer", "bytearray", "bytes(value)"),
        (1 + 2j, "answer", "complex", "a list"),
        ({"by": {1: "one"}}, "answer.by", "int", "a dict whose keys are strings, as {str(key): …}, instead"),
        (len, "answer", "builtin_function_or_method", "plain values"),
    ],
)
def test_what_cannot_travel_names_column_type_and_way_out(
    value: object, column: str, type_name: str, instead: str
) -> None:
    with pytest.raises(RowTypeError) as caught:
        rows.encode_row({"fine": 1, "answer": value})

    assert (caught.value.column, caught.value.type_name) == (column, type_name)
    assert f"column {column!r}" in str(caught.value)
    assert f"return {instead}" in str(caught.value)


def test_a_row_that_holds_itself_is_refused() -> None:
    row: dict[str, object] = {"a": 1}
    row["self"] = [row]

    with pytest.raises(RowTypeError, match=r"column '(self\.0\.)+…' .* return a structure that is less deep") as caught:
        rows.encode_row(row)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("row", [None, "text", [1], 3])
def test_a_row_that_is_no_dict_is_refused(row: object) -> None:
    with pytest.raises(RowTypeError, match="return a dict"):
        rows.encode_rows([row])  # type: ignore[list-item]


def extension(code: int, value: object) -> bytes:
    """A row with one value of an extension type, whatever is in it."""
    library: Any = msgpack
    return library.packb({"column": library.ExtType(code, library.packb(value))})


@pytest.mark.parametrize(
    ("code", "claim"),
    [
        (row_types.NUMPY_ARRAY, ["<f8", [10**6, 10**6], b""]),
        (row_types.NUMPY_ARRAY, ["<f8", [10**12], b"12345678"]),
        (row_types.NUMPY_ARRAY, ["<f8", [-1, -1], b"12345678"]),
        (row_types.NUMPY_ARRAY, ["<U0", [10**12], b""]),
        (row_types.NUMPY_ARRAY, ["<f8", [10**12, 0], b""]),
        (row_types.NUMPY_ARRAY, ["|O", [1], b"12345678"]),
        (row_types.NUMPY_SCALAR, ["(1000000000,)f8", b""]),
        (row_types.OBJECT_ARRAY, [[10**12, 0], []]),
        (row_types.IMAGE, ["raw", b"", "PNG", {}, "I", [50_000, 50_000], None]),
    ],
)
def test_what_claims_to_be_huge_costs_no_memory(code: int, claim: object) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with Path("/proc/self/statm").open() as statm:
        taken = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 512 * 1024**2, before[1]))
    try:
        with pytest.raises(RemoteProtocolError, match=r"shape|pixels|bytes|negative"):
            rows.decode_row(extension(code, claim))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.zeros((2, 0), dtype="<U3"), np.array(5.0), np.array([None])])
def test_an_array_without_content_keeps_its_shape(array: np.ndarray) -> None:
    decoded = there_and_back(array)

    assert isinstance(decoded, np.ndarray)
    assert (decoded.shape, decoded.dtype) == (array.shape, array.dtype)


@given(st.binary(max_size=40))
def test_junk_is_a_peers_mistake_and_nothing_else(junk: bytes) -> None:
    for read in (rows.decode_rows, rows.split_payload, rows.decode_row):
        try:
            read(junk)
        except RemoteProtocolError:
            continue


def test_plain_rows_load_no_heavy_library() -> None:
    code = (
        "import sys; from distilmq.protocol import rows;"
        "rows.decode_rows(rows.encode_rows([{'a': (1, 2**80)}]));"
        "print([m for m in ('numpy', 'PIL', 'pandas') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_uuid_and_a_decimal_keep_their_form() -> None:
    values = [UUID(int=5), Decimal("1.100"), Decimal("NaN")]

    decoded = there_and_back(values)

    assert [str(value) for value in decoded] == [str(value) for value in values]  # type: ignore[union-attr]

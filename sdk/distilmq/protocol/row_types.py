"""The values of a row that msgpack does not know, as extension types: what each becomes and how it comes back.

numpy, pandas and PIL are never imported to encode (a value of theirs is proof that they are loaded) and only
imported to decode a value of theirs.
"""

from __future__ import annotations

import datetime as dt
import enum
import io
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types
from pydantic import BaseModel

from distilmq.errors import RowTypeError

TUPLE = 1
BIG_INT = 2
DATETIME = 3
DATE = 4
TIME = 5
TIMEDELTA = 6
DECIMAL = 7
UUID_ = 8
NUMPY_SCALAR = 9
NUMPY_ARRAY = 10
OBJECT_ARRAY = 11
IMAGE = 12
PANDAS_TIMESTAMP = 13
PANDAS_TIMEDELTA = 14
PANDAS_MISSING = 15

FLAT: frozenset[type] = frozenset({str, int, float, bool, bytes, type(None)})
"""Values that hold no others and that msgpack packs as they are (integers as long as they fit)."""

MAX_DEPTH = 200
"""Containers within containers: deeper is taken for a cycle."""

_SHOWN_DEPTH = 8
"""Names of a path that are shown of a value that stands deep."""

_PNG_MODES = frozenset({"L", "LA", "RGB", "RGBA"})

_INSTEAD: dict[str, str] = {
    "set": "a sorted list",
    "frozenset": "a sorted list",
    "bytearray": "bytes(value)",
    "memoryview": "bytes(value)",
    "complex": "a list [real, imag]",
    "range": "list(value)",
    "generator": "list(value)",
    "function": "the result of the call",
    "Tensor": "value.tolist() or value.numpy()",
    "DataFrame": "value.to_dict('records')",
    "Series": "value.tolist()",
    "SecretStr": "nothing: a secret must not be part of a row",
}

_msgpack: Any = msgpack

Path = tuple[Any, ...]
"""Where a value stands, from the inside out: `(key, parent path)`; the row itself is `()`."""


def prepare(value: Any, path: Path, depth: int = 0) -> Any:
    """What msgpack is given for a value: plain values as they are, others as extension types.

    Raises:
        RowTypeError: the value, or one in it, cannot travel.
    """
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # of any value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else _big_int(value)
    if kind in FLAT:
        return value
    if depth > MAX_DEPTH:
        raise _refused(value, path, "a structure that is less deep and holds no part of itself")
    if kind is dict:
        return _dict(value, path, depth)
    if kind is list:
        return [prepare(item, (place, path), depth + 1) for place, item in enumerate(value)]
    encode = _ENCODERS.get(kind)  # pyright: ignore[reportUnknownArgumentType]
    if encode is None:
        encode = _find_encoder(value)
        if encode is None:
            raise _refused(value, path)
        _ENCODERS[kind] = encode
    return encode(value, path, depth)


def _dict(value: dict[Any, Any], path: Path, depth: int) -> dict[str, Any]:
    prepared: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _refused(key, path, "a dict whose keys are strings, as {str(key): …},", what=f"the key {key!r:.50}")
        prepared[str(key)] = prepare(item, (key, path), depth + 1)
    return prepared


def _refused(value: Any, path: Path, instead: str = "", what: str = "a value") -> RowTypeError:
    names: list[str] = []
    while path:
        key, path = path
        names.append(str(key))
    names = names[::-1]
    if len(names) > _SHOWN_DEPTH:
        names = [*names[:_SHOWN_DEPTH], "…"]
    column = ".".join(names)
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # of any value
    type_name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if not instead:
        instead = _INSTEAD.get(kind.__name__, "")
    if not instead and hasattr(kind, "__dataclass_fields__"):  # pyright: ignore[reportUnknownArgumentType]
        instead = "dataclasses.asdict(value)"
    if not instead:
        instead = "plain values (str, numbers, lists, dicts), or its text"
    where = f"column {column!r}" if column else "a row"
    return RowTypeError(
        f"{where} holds {what} of type {type_name}, which cannot travel between steps; return {instead} instead",
        column=column,
        type_name=type_name,
    )


def row_is_no_dict(row: Any) -> RowTypeError:
    """The error for something in the place of a row that is no dict."""
    return _refused(row, (), "a dict that maps column names to values")


# ---------------------------------------------------------------- encoding


def _ext(code: int, value: Any) -> Any:
    return _msgpack.ExtType(code, _msgpack.packb(value, unicode_errors="surrogatepass"))


def _big_int(value: int) -> Any:
    return _msgpack.ExtType(BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _tuple(value: tuple[Any, ...], path: Path, depth: int) -> Any:
    return _ext(TUPLE, [prepare(item, (place, path), depth + 1) for place, item in enumerate(value)])


def _zone(zone: dt.tzinfo | None, at: Any) -> Any:
    """None, a zone's name, or a fixed offset as [days, seconds, microseconds, name or None]."""
    if zone is None:
        return None
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if isinstance(name, str):
        return name
    offset = zone.utcoffset(at) or dt.timedelta(0)
    label: str | None = None
    if type(zone) is dt.timezone and zone != dt.UTC:
        label = zone.tzname(None)
        label = None if label == dt.timezone(offset).tzname(None) else label
    return [offset.days, offset.seconds, offset.microseconds, label]


def _datetime(value: dt.datetime, path: Path, depth: int) -> Any:
    fields = [value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond]
    return _ext(DATETIME, [*fields, value.fold, _zone(value.tzinfo, value)])


def _date(value: dt.date, path: Path, depth: int) -> Any:
    return _ext(DATE, value.toordinal())


def _time(value: dt.time, path: Path, depth: int) -> Any:
    fields = [value.hour, value.minute, value.second, value.microsecond]
    return _ext(TIME, [*fields, value.fold, _zone(value.tzinfo, None)])


def _timedelta(value: dt.timedelta, path: Path, depth: int) -> Any:
    return _ext(TIMEDELTA, [value.days, value.seconds, value.microseconds])


def _decimal(value: Decimal, path: Path, depth: int) -> Any:
    return _ext(DECIMAL, str(value))


def _uuid(value: UUID, path: Path, depth: int) -> Any:
    return _msgpack.ExtType(UUID_, value.bytes)


def _enum(value: enum.Enum, path: Path, depth: int) -> Any:
    return prepare(value.value, path, depth + 1)


def _model(value: BaseModel, path: Path, depth: int) -> Any:
    return prepare(value.model_dump(), path, depth + 1)


def _base(base: type) -> Callable[[Any, Path, int], Any]:
    """A value of a subclass of a plain type travels as the plain type."""
    return lambda value, path, depth: prepare(base(value), path, depth + 1)


def _numpy_dtype(value: Any, path: Path) -> Any:
    dtype = value.dtype
    if dtype.hasobject:
        raise _refused(value, path, f"value.tolist() (numpy's {dtype} is not supported)")
    described = dtype.str if dtype.fields is None else dtype.descr
    if sys.modules["numpy"].dtype(described) != dtype:
        raise _refused(value, path, f"value.astype('float32') (numpy's {dtype} is not supported)")
    return prepare(described, path, 0)


def _numpy_scalar(value: Any, path: Path, depth: int) -> Any:
    return _ext(NUMPY_SCALAR, [_numpy_dtype(value, path), value.tobytes()])


def _numpy_array(value: Any, path: Path, depth: int) -> Any:
    shape = list(value.shape)
    if value.dtype.kind == "O":
        items = [prepare(item, (place, path), depth + 1) for place, item in enumerate(value.flat)]
        return _ext(OBJECT_ARRAY, [shape, items])
    return _ext(NUMPY_ARRAY, [_numpy_dtype(value, path), shape, value.tobytes()])


def _image(value: Any, path: Path, depth: int) -> Any:
    info = {
        key: item for key, item in value.info.items() if isinstance(key, str) and type(item) in {str, int, float, bytes}
    }
    if value.mode in _PNG_MODES and min(value.size) > 0:
        file = io.BytesIO()
        value.save(file, format="PNG", compress_level=1)
        return _ext(IMAGE, ["png", file.getvalue(), value.format, info])
    palette = [value.palette.mode, bytes(value.palette.palette)] if value.mode in {"P", "PA"} else None
    return _ext(IMAGE, ["raw", value.tobytes(), value.format, info, value.mode, list(value.size), palette])


def _pandas_timestamp(value: Any, path: Path, depth: int) -> Any:
    ticks = int(value.asm8.astype("int64"))
    return _ext(PANDAS_TIMESTAMP, [ticks, value.unit, _zone(value.tzinfo, value)])


def _pandas_timedelta(value: Any, path: Path, depth: int) -> Any:
    return _ext(PANDAS_TIMEDELTA, [int(value.asm8.astype("int64")), value.unit])


def _pandas_missing(value: Any, path: Path, depth: int) -> Any:
    return _ext(PANDAS_MISSING, "NA" if type(value).__name__ == "NAType" else "NaT")


Encoder = Callable[[Any, Path, int], Any]

_ENCODERS: dict[type, Encoder] = {
    tuple: _tuple,
    dt.datetime: _datetime,
    dt.date: _date,
    dt.time: _time,
    dt.timedelta: _timedelta,
    Decimal: _decimal,
    UUID: _uuid,
}
"""Grows by the types that were met."""


def _find_encoder(value: Any) -> Encoder | None:
    return _find_foreign_encoder(value) or _find_base_encoder(value)


def _find_foreign_encoder(value: Any) -> Encoder | None:
    """Before the plain bases: numpy's and pandas' scalars are subclasses of plain types, too."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.generic):
            return _numpy_scalar
        if type(value) is numpy.ndarray:
            return _numpy_array
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and hasattr(pandas, "Timestamp"):
        if value is pandas.NaT or value is pandas.NA:
            return _pandas_missing
        if isinstance(value, pandas.Timestamp):
            return _pandas_timestamp
        if isinstance(value, pandas.Timedelta):
            return _pandas_timedelta
    pil: Any = sys.modules.get("PIL.Image")
    return _image if pil is not None and isinstance(value, pil.Image) else None


def _find_base_encoder(value: Any) -> Encoder | None:
    if isinstance(value, enum.Enum):
        return _enum
    if isinstance(value, BaseModel):
        return _model
    if isinstance(value, tuple):
        return _tuple
    for base, encoder in (
        (dt.datetime, _datetime),
        (dt.date, _date),
        (dt.time, _time),
        (dt.timedelta, _timedelta),
        (Decimal, _decimal),
        (UUID, _uuid),
    ):
        if isinstance(value, base):
            return encoder
    for base in (str, int, float, bytes, list, dict):
        if isinstance(value, base):
            return _base(base)
    return None

"""Rows to bytes and back: every value comes out of the next step as it went into the last one.

A row is one msgpack map; a payload is a msgpack array of such rows as `bin`, so it is split, joined and
routed without decoding a row. What msgpack has no type for travels as an extension whose body is msgpack
again. Nothing is ever pickled.
"""

from __future__ import annotations

import datetime as dt
import io
import sys
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types
from pydantic import BaseModel

from distilmq.errors import RowTypeError
from distilmq.protocol.packing import pack, unpack

_msgpack: Any = msgpack

# Extension codes: stored in journals, so a code is never reused.
_TUPLE, _BIG_INT, _DATETIME, _DATE, _TIME, _TIMEDELTA, _DECIMAL, _UUID = range(1, 9)
_ARRAY, _SCALAR, _IMAGE, _TIMESTAMP = range(16, 20)

_INT64 = 2**63
_UINT64 = 2**64
_CONTAINERS = frozenset({dict, list, tuple})
_PLAIN: tuple[Any, ...] = (int, float, str, bytes, list)


def encode_row(row: Mapping[str, Any]) -> bytes:
    """A row as msgpack.

    Raises:
        RowTypeError: a value cannot travel; the message names the column, the type and what to return.
    """
    _check_keys(row, "")
    try:
        return _msgpack.packb(row, default=_encode_special, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        return _encode_by_column(row, error)


def decode_row(data: bytes) -> dict[str, Any]:
    """The row that `encode_row` was given."""
    return _msgpack.unpackb(data, ext_hook=_decode_special, strict_map_key=False)


def encode_rows(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A payload of rows; raises as `encode_row`."""
    return pack([encode_row(row) for row in rows])


def decode_rows(payload: bytes) -> list[dict[str, Any]]:
    """The rows of a payload."""
    return [decode_row(row) for row in split_payload(payload)]


def split_payload(payload: bytes) -> list[bytes]:
    """The encoded rows of a payload, none of them decoded."""
    return unpack(payload)


def join_rows(rows: Sequence[bytes]) -> bytes:
    """A payload of rows that are encoded already."""
    return pack(list(rows))


def _encode_by_column(row: Mapping[str, Any], error: Exception) -> bytes:
    """Encodes column by column, the slow way: integers of any size pass, and a bad value is found and named."""
    widened = {name: _widen(value, name) for name, value in row.items()}
    try:
        return _msgpack.packb(widened, default=_encode_special, strict_types=True)
    except (TypeError, ValueError, OverflowError):
        raise error from None


def _check_keys(value: Any, path: str) -> None:
    """Refuses keys that are no strings, which msgpack would let through."""
    if isinstance(value, dict):
        for key, item in cast("dict[object, Any]", value).items():
            if not isinstance(key, str):
                raise _key_refusal(path, key)
            if type(item) in _CONTAINERS:
                _check_keys(item, f"{path}.{key}" if path else key)
    else:
        for place, item in enumerate(cast("Sequence[Any]", value)):
            if type(item) in _CONTAINERS:
                _check_keys(item, f"{path}[{place}]")


def _key_refusal(path: str, key: object) -> RowTypeError:
    kind = type(key).__name__
    where = f"Column '{path}' holds a dict with the key" if path else "A row has the column name"
    return RowTypeError(
        f"{where} {key!r} of type {kind}: keys in rows are strings. Return str(key), or a list of pairs.",
        column=path or str(key),
        type_name=kind,
    )


def _widen(value: Any, path: str) -> Any:
    """A value with its integers beyond 64 bits replaced, checked all the way down."""
    if isinstance(value, bool | float | str | bytes | None):
        return value
    if isinstance(value, Enum):
        return _widen(value.value, path)
    if type(value) is int:
        return value if -_INT64 <= value < _UINT64 else _big_int(value)
    if type(value) is dict:
        return {key: _widen(item, f"{path}.{key}") for key, item in cast("dict[str, Any]", value).items()}
    if type(value) is list:
        return [_widen(item, f"{path}[{place}]") for place, item in enumerate(cast("list[Any]", value))]
    if type(value) is tuple:
        items = cast("tuple[Any, ...]", value)
        return _extension(_TUPLE, [_widen(item, f"{path}[{place}]") for place, item in enumerate(items)])
    try:
        return _encode_special(value)
    except RowTypeError as error:
        raise _refusal(path, error.type_name) from None


def _refusal(path: str, type_name: str) -> RowTypeError:
    return RowTypeError(
        f"Column '{path}' holds a value of type {type_name}, which cannot travel between steps. Return plain "
        "values instead (None, bool, int, float, str, bytes, list, tuple, dict, dates, Decimal, UUID, numpy arrays, "
        "PIL images, pydantic models), for example its dict or its text.",
        column=path,
        type_name=type_name,
    )


# ---------------------------------------------------------------- special values, out


def _extension(code: int, body: Any) -> Any:
    return _msgpack.ExtType(code, _msgpack.packb(body, default=_encode_special, strict_types=True))


def _big_int(value: int) -> Any:
    return _msgpack.ExtType(_BIG_INT, str(value).encode())


def _encode_special(value: Any) -> Any:
    """What msgpack asks about: anything that is no plain value of exactly its own type."""
    if isinstance(value, tuple):
        return _extension(_TUPLE, list(cast("tuple[Any, ...]", value)))
    if isinstance(value, Enum):
        return value.value
    encode = _ENCODERS.get(cast("type[Any]", type(value)))
    if encode is not None:
        return encode(value)
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if not _is_numpy(value):
        for plain in _PLAIN:
            if isinstance(value, plain):
                return plain(value)
    return _encode_foreign(value)


def _encode_datetime(value: dt.datetime) -> Any:
    return _extension(_DATETIME, [value.replace(tzinfo=None, fold=0).isoformat(), *_zone(value), value.fold])


def _encode_time(value: dt.time) -> Any:
    return _extension(_TIME, [value.replace(tzinfo=None, fold=0).isoformat(), *_zone(value), value.fold])


def _zone(value: dt.datetime | dt.time) -> list[Any]:
    """The name of the time zone, or its offset in microseconds, or two Nones of a naive value."""
    zone = value.tzinfo
    if zone is None:
        return [None, None]
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return [zone.key, None]
    offset = value.utcoffset()
    if offset is None:
        raise RowTypeError("a time zone without an offset", column="", type_name=type(zone).__name__)
    return [None, offset // dt.timedelta(microseconds=1)]


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    int: _big_int,
    dt.datetime: _encode_datetime,
    dt.date: lambda value: _extension(_DATE, value.isoformat()),
    dt.time: _encode_time,
    dt.timedelta: lambda value: _extension(_TIMEDELTA, [value.days, value.seconds, value.microseconds]),
    Decimal: lambda value: _extension(_DECIMAL, str(value)),
    UUID: lambda value: _extension(_UUID, value.bytes),
    bytearray: bytes,
    memoryview: bytes,
}


def _is_numpy(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic | numpy.ndarray)


def _encode_foreign(value: Any) -> Any:
    """Values of libraries that are only known when they are loaded: numpy, pandas, PIL."""
    if _is_numpy(value):
        return _encode_numpy(value)
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if value is pandas.NaT or value is pandas.NA:
            return None
        if isinstance(value, pandas.Timestamp):
            unit: Any = value
            return _extension(_TIMESTAMP, [unit.tz_localize(None).isoformat(), *_zone(unit), unit.fold, unit.unit])
    image = sys.modules.get("PIL.Image")
    if image is not None and isinstance(value, image.Image):
        return _encode_image(value)
    raise _refusal("?", type(value).__name__)


def _encode_numpy(value: Any) -> Any:
    if value.dtype.hasobject:
        raise _refusal("?", f"{type(value).__name__} of objects")
    numpy = sys.modules["numpy"]
    body = [value.dtype.str, list(value.shape), numpy.ascontiguousarray(value).tobytes()]
    return _extension(_ARRAY if isinstance(value, numpy.ndarray) else _SCALAR, body)


def _encode_image(image: Any) -> Any:
    """As PNG where that keeps mode and pixels, else as raw pixels."""
    buffer = io.BytesIO()
    if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
        image.save(buffer, format="PNG")
        return _extension(_IMAGE, ["png", image.mode, list(image.size), buffer.getvalue()])
    return _extension(_IMAGE, ["raw", image.mode, list(image.size), image.tobytes()])


# ---------------------------------------------------------------- special values, in


def _decode_special(code: int, data: bytes) -> Any:
    decode = _DECODERS.get(code)
    if decode is None:
        return _msgpack.ExtType(code, data)
    if code == _BIG_INT:
        return int(data)
    return decode(_msgpack.unpackb(data, ext_hook=_decode_special, strict_map_key=False))


def _in_zone(value: Any, name: str | None, offset: int | None, fold: int) -> Any:
    if name is not None:
        return value.replace(tzinfo=zoneinfo.ZoneInfo(name), fold=fold)
    if offset is not None:
        return value.replace(tzinfo=dt.timezone(dt.timedelta(microseconds=offset)), fold=fold)
    return value.replace(fold=fold)


def _decode_timestamp(body: list[Any]) -> Any:
    import pandas  # pyright: ignore[reportMissingTypeStubs]  # an optional library without stubs here

    text, name, offset, fold, unit = body
    stamp: Any = pandas.Timestamp(text).as_unit(unit)
    if name is not None:
        return stamp.tz_localize(zoneinfo.ZoneInfo(name), ambiguous=not fold)
    if offset is not None:
        return stamp.tz_localize(dt.timezone(dt.timedelta(microseconds=offset)))
    return stamp


def _decode_array(body: list[Any]) -> Any:
    import numpy

    dtype, shape, data = body
    return numpy.frombuffer(data, dtype=dtype).reshape(shape).copy()


def _decode_image(body: list[Any]) -> Any:
    from PIL import Image

    form, mode, size, data = body
    if form == "raw":
        return Image.frombytes(mode, tuple(size), data)
    image: Any = Image.open(io.BytesIO(data))
    image.load()
    return image if image.mode == mode else image.convert(mode)


_DECODERS: dict[int, Callable[[Any], Any]] = {
    _TUPLE: tuple,
    _BIG_INT: int,
    _DATETIME: lambda body: _in_zone(dt.datetime.fromisoformat(body[0]), *body[1:]),
    _DATE: dt.date.fromisoformat,
    _TIME: lambda body: _in_zone(dt.time.fromisoformat(body[0]), *body[1:]),
    _TIMEDELTA: lambda body: dt.timedelta(*body),
    _DECIMAL: Decimal,
    _UUID: lambda body: UUID(bytes=body),
    _ARRAY: _decode_array,
    _SCALAR: lambda body: _decode_array(body)[()],
    _IMAGE: _decode_image,
    _TIMESTAMP: _decode_timestamp,
}

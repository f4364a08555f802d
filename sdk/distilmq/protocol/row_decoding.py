"""Extension types of rows back to the values they were made from (see `row_types`)."""

from __future__ import annotations

import datetime as dt
import importlib
import io
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

from distilmq.protocol import row_types

_msgpack: Any = msgpack

ExtensionHook = Callable[[int, bytes], Any]
"""Gives the value of an extension type by its number and its data."""

_EMPTY_PLACES = 1 << 20
"""Of an array that has no bytes at all, since one of its sides, or its type, has no length."""


def restore(code: int, data: bytes) -> Any:
    """The value of an extension type; msgpack's `ext_hook`.

    Raises:
        ValueError: no such type.
    """
    decode = _DECODERS.get(code)
    if decode is None:
        raise ValueError(f"a value of the unknown type {code}: it was written by a newer version")
    return decode(data)


def restore_with_none(code: int, data: bytes) -> Any:
    """As `restore`, but with None for what pandas says is missing: a dataset has one word for it."""
    match code:
        case row_types.PANDAS_MISSING:
            return None
        case row_types.TUPLE:
            return _tuple(data, restore_with_none)
        case row_types.OBJECT_ARRAY:
            return _object_array(data, restore_with_none)
        case _:
            return restore(code, data)


def _unpack(data: bytes, hook: ExtensionHook = restore) -> Any:
    return _msgpack.unpackb(data, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")


def _tuple(data: bytes, hook: ExtensionHook = restore) -> tuple[Any, ...]:
    return tuple(_unpack(data, hook))


def _big_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _zone(zone: Any) -> dt.tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        return ZoneInfo(zone)
    days, seconds, microseconds, label = zone
    offset = dt.timedelta(days=days, seconds=seconds, microseconds=microseconds)
    return dt.timezone(offset) if label is None else dt.timezone(offset, label)


def _datetime(data: bytes) -> dt.datetime:
    *fields, fold, zone = _unpack(data)
    return dt.datetime(*fields, tzinfo=_zone(zone), fold=fold)


def _date(data: bytes) -> dt.date:
    return dt.date.fromordinal(_unpack(data))


def _time(data: bytes) -> dt.time:
    *fields, fold, zone = _unpack(data)
    return dt.time(*fields, tzinfo=_zone(zone), fold=fold)


def _timedelta(data: bytes) -> dt.timedelta:
    days, seconds, microseconds = _unpack(data)
    return dt.timedelta(days=days, seconds=seconds, microseconds=microseconds)


def _decimal(data: bytes) -> Decimal:
    return Decimal(_unpack(data))


def _uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _numpy_scalar(data: bytes) -> Any:
    numpy: Any = importlib.import_module("numpy")
    dtype, content = _unpack(data)
    return _from_bytes(numpy, numpy.dtype(dtype), [], content)[()]


def _numpy_array(data: bytes) -> Any:
    numpy: Any = importlib.import_module("numpy")
    dtype, shape, content = _unpack(data)
    return _from_bytes(numpy, numpy.dtype(dtype), shape, content)


def _from_bytes(numpy: Any, dtype: Any, shape: list[int], content: bytes) -> Any:
    """An array of the bytes that came: whatever shape is claimed, not one byte more is allocated."""
    _check_shape(shape, len(content))
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != len(content) or dtype.hasobject:
        raise ValueError(f"{len(content)} bytes where an array of shape {shape} and type {dtype} has {claimed}")
    # A bytearray makes the array writable: steps may change the rows that they are given.
    return numpy.ndarray(shape, dtype=dtype, buffer=bytearray(content))


def _check_shape(shape: list[int], least: int) -> None:
    """Raises where an array without content is a list of very many empty ones: made one, it would fill the memory."""
    places = math.prod(size for size in shape if size)
    if places > max(least, _EMPTY_PLACES):
        raise ValueError(f"an array of shape {shape} that holds nothing")


def _object_array(data: bytes, hook: ExtensionHook = restore) -> Any:
    numpy: Any = importlib.import_module("numpy")
    shape, items = _unpack(data, hook)
    _check_shape(shape, len(items))
    flat = numpy.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        flat[place] = item
    return flat.reshape(shape)


def _image(data: bytes) -> Any:
    pil: Any = importlib.import_module("PIL.Image")
    how, content, image_format, info, *raw = _unpack(data)
    if how == "png":
        with pil.open(io.BytesIO(content)) as file:
            # The copy is a plain image in memory, not one that waits for its file to be read.
            image = file.copy()
    else:
        mode, size, palette = raw
        _check_pixels(mode, size, content)
        image = pil.frombytes(mode, tuple(size), content)
        if palette is not None:
            image.putpalette(palette[1], palette[0])
    image.format = image_format
    image.info = info
    return image


def _check_pixels(mode: str, size: list[int], content: bytes) -> None:
    """Raises unless there is at least a bit for each pixel: the library allocates the image before it looks."""
    width, height = size
    if width < 0 or height < 0 or (width + 7) // 8 * height > len(content):
        raise ValueError(f"{len(content)} bytes where an image of {width} x {height} pixels ({mode}) was expected")


def _pandas_timestamp(data: bytes) -> Any:
    numpy: Any = importlib.import_module("numpy")
    pandas: Any = importlib.import_module("pandas")
    ticks, unit, zone = _unpack(data)
    naive = pandas.Timestamp(numpy.datetime64(ticks, unit))
    return naive if zone is None else naive.tz_localize("UTC").tz_convert(_zone(zone))


def _pandas_timedelta(data: bytes) -> Any:
    numpy: Any = importlib.import_module("numpy")
    pandas: Any = importlib.import_module("pandas")
    ticks, unit = _unpack(data)
    return pandas.Timedelta(numpy.timedelta64(ticks, unit))


def _pandas_missing(data: bytes) -> Any:
    pandas: Any = importlib.import_module("pandas")
    return pandas.NA if _unpack(data) == "NA" else pandas.NaT


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    row_types.TUPLE: _tuple,
    row_types.BIG_INT: _big_int,
    row_types.DATETIME: _datetime,
    row_types.DATE: _date,
    row_types.TIME: _time,
    row_types.TIMEDELTA: _timedelta,
    row_types.DECIMAL: _decimal,
    row_types.UUID_: _uuid,
    row_types.NUMPY_SCALAR: _numpy_scalar,
    row_types.NUMPY_ARRAY: _numpy_array,
    row_types.OBJECT_ARRAY: _object_array,
    row_types.IMAGE: _image,
    row_types.PANDAS_TIMESTAMP: _pandas_timestamp,
    row_types.PANDAS_TIMEDELTA: _pandas_timedelta,
    row_types.PANDAS_MISSING: _pandas_missing,
}

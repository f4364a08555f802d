"""The shape of a list of values, a column at a time: most of the work is done by C loops over whole columns."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from PIL import Image

from distilmq.dataset.shapes import (
    MAX_FIELDS,
    UNITS,
    Fixed,
    Mixed,
    Moment,
    Nothing,
    Picture,
    Plain,
    Real,
    Shape,
    Span,
    Tensor,
    Text,
    Unit,
    Whole,
    join,
    record,
    sequence,
)

_EXACT = 2**53
_NANOSECONDS = dt.timedelta(microseconds=2**63 // 1000)
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def infer(values: list[Any]) -> Shape:
    """The shape of all values together.

    Args:
        values: a column; it may hold None.
    """
    kinds = set(map(_kind, set(map(type, values)))) - {""}
    if not kinds:
        return Nothing()
    if len(kinds) == 1:
        return _INFER[kinds.pop()]([value for value in values if value is not None])
    groups: dict[str, list[Any]] = {}
    for value in values:
        groups.setdefault(_kind(value.__class__), []).append(value)
    groups.pop("", None)
    shape: Shape = Nothing()
    for kind, group in groups.items():
        shape = join(shape, _INFER[kind](group))
    return shape


def field_values(dicts: list[Any], name: str) -> list[Any]:
    """One field of many dicts; None where a dict lacks it, or is None."""
    try:
        return [value[name] for value in dicts]
    except (KeyError, TypeError):
        return [None if value is None else value.get(name) for value in dicts]


@cache
def _kind(type_: type) -> str:
    if type_ is type(None):
        return ""
    for kind, types in _KINDS:
        if issubclass(type_, types):
            return kind
    return "other"


_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    # bool before int and datetime before date: each is a subclass of the other.
    ("bool", (bool, np.bool_)),
    ("int", (int, np.integer)),
    ("float", (float, np.floating)),
    ("str", (str,)),
    ("bytes", (bytes, bytearray, memoryview)),
    ("datetime", (dt.datetime,)),
    ("date", (dt.date,)),
    ("time", (dt.time,)),
    ("timedelta", (dt.timedelta,)),
    ("Decimal", (Decimal,)),
    ("UUID", (uuid.UUID,)),
    ("dict", (Mapping,)),
    ("list", (list, tuple)),
    ("array", (np.ndarray,)),
    ("image", (Image.Image,)),
)


def _infer_bools(_: list[Any]) -> Shape:
    return Plain("bool")


def _infer_ints(values: list[Any]) -> Shape:
    low, high = int(min(values)), int(max(values))
    exact = (low >= -_EXACT and high <= _EXACT) or all(_is_some_float(int(value)) for value in values)
    return Whole(low, high, exact)


def _is_some_float(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _infer_floats(values: list[Any]) -> Shape:
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        singles = numbers.astype(np.float32)
    return Real(single=bool(((singles == numbers) | np.isnan(numbers)).all()))


def _infer_strings(values: list[Any]) -> Shape:
    text = "".join(values)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return Mixed((), "str with lone surrogates")
    return Text()


def _infer_uuids(_: list[Any]) -> Shape:
    return Text(uuids=True)


def _infer_bytes(_: list[Any]) -> Shape:
    return Plain("binary")


def _infer_dates(_: list[Any]) -> Shape:
    return Plain("date")


def _infer_times(values: list[Any]) -> Shape:
    if any(value.tzinfo is not None for value in values):
        return Mixed((), "time with time zone")
    return Plain("time")


def _infer_moments(values: list[Any]) -> Shape:
    zones = {None if value.tzinfo is None else zone_name(value.tzinfo) for value in values}
    if None in zones and len(zones) > 1:
        return Mixed((), "datetime and datetime with time zone do not join")
    zone = zones.pop() if len(zones) == 1 else "UTC"
    try:
        far = _any_far(values, zone)
    except OverflowError:
        return Mixed((), "datetime outside of the years 1 to 9999 of UTC")
    return Moment(zone, _coarsest([_subseconds(value) for value in values]), far)


def _any_far(values: list[Any], zone: str | None) -> bool:
    if zone is None:
        return any(abs(value - _EPOCH) > _NANOSECONDS for value in values)
    return any(abs(value.astimezone(dt.UTC) - _EPOCH_UTC) > _NANOSECONDS for value in values)


def zone_name(zone: dt.tzinfo) -> str:
    """What Arrow calls a time zone; one that it cannot name is told in UTC."""
    if isinstance(zone, dt.timezone):
        minutes, rest = divmod(zone.utcoffset(None), dt.timedelta(minutes=1))
        if rest or not minutes:
            return "UTC"
        return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    return getattr(zone, "key", None) or getattr(zone, "zone", None) or "UTC"


def _infer_spans(values: list[Any]) -> Shape:
    longest = max(abs(value) for value in values)
    if longest > dt.timedelta(microseconds=2**63 - 1):
        return Mixed((), "timedelta beyond 64 bits of microseconds")
    return Span(_coarsest([_subseconds(value, "microseconds") for value in values]), longest > _NANOSECONDS)


def _subseconds(value: Any, name: str = "microsecond") -> int:
    """Nanoseconds behind the whole second: pandas has types that count them."""
    return getattr(value, name) * 1000 + getattr(value, f"nano{name[5:]}", 0)


def _coarsest(nanoseconds: list[int]) -> Unit:
    for unit, size in zip(UNITS, (10**9, 10**6, 10**3), strict=False):
        if not any(value % size for value in nanoseconds):
            return unit
    return "ns"


def _infer_decimals(values: list[Any]) -> Shape:
    before = behind = 0
    for value in values:
        _, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            return Mixed((), "Decimal that is not finite")
        behind = max(behind, -exponent)
        before = max(before, len(digits) + exponent)
    return Fixed(before, behind)


def _infer_dicts(values: list[Any]) -> Shape:
    names = dict.fromkeys(chain.from_iterable(values))
    if len(names) > MAX_FIELDS:
        return Mixed((), f"dicts with more than {MAX_FIELDS} different keys")
    if not all(type(name) is str for name in names):
        return Mixed((), "dicts with keys that are no strings")
    return record({name: infer(field_values(values, name)) for name in names})


def _infer_lists(values: list[Any]) -> Shape:
    lengths = set(map(len, values))
    return sequence(infer(list(chain.from_iterable(values))), lengths.pop() if len(lengths) == 1 else None)


def _infer_arrays(values: list[Any]) -> Shape:
    shape: Shape = Nothing()
    for value in values:
        shape = join(shape, _infer_array(value))
    return shape


def _infer_array(value: Any) -> Shape:
    if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8 or value.ndim == 0:
        return infer([plain_array(value)])
    return Tensor(_dtype_name(value), tuple(value.shape), _infer_items(value))


def _dtype_name(value: Any) -> str:
    # Parquet readers differ on 16-bit floats; 32 bits hold them exactly.
    name = value.dtype.newbyteorder("=").name
    return "float32" if name == "float16" else name


def _infer_items(value: Any) -> Shape:
    if value.size == 0:
        return Nothing()
    match value.dtype.kind:
        case "b":
            return Plain("bool")
        case "f":
            return Real(single=value.dtype.itemsize <= 4)
        case _:
            low, high = int(value.min()), int(value.max())
            exact = (low >= -_EXACT and high <= _EXACT) or all(_is_some_float(int(item)) for item in value.flat)
            return Whole(low, high, exact)


def plain_array(value: Any) -> Any:
    """An array as Python values: nested lists, or a scalar where it has no dimension."""
    if value.dtype.kind in "Mm":
        return value.astype(value.dtype.str[:2] + "8[us]").tolist()
    return value.tolist()


def _infer_images(_: list[Any]) -> Shape:
    return Picture()


def _infer_others(values: list[Any]) -> Shape:
    return Mixed((), type(values[0]).__name__)


_INFER: dict[str, Callable[[list[Any]], Shape]] = {
    "bool": _infer_bools,
    "int": _infer_ints,
    "float": _infer_floats,
    "str": _infer_strings,
    "bytes": _infer_bytes,
    "datetime": _infer_moments,
    "date": _infer_dates,
    "time": _infer_times,
    "timedelta": _infer_spans,
    "Decimal": _infer_decimals,
    "UUID": _infer_uuids,
    "dict": _infer_dicts,
    "list": _infer_lists,
    "array": _infer_arrays,
    "image": _infer_images,
    "other": _infer_others,
}

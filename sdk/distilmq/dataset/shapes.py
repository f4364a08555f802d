"""What the values of a column are: small descriptions that are joined over all rows.

A column's shape begins as `Nothing` and is joined with the shape of every row's value. Joining is
associative and, but for the order of fields, does not depend on the order of rows, so the schema of a
dataset follows from its rows alone. What does not join becomes `Mixed`, whatever it is joined with later:
such a column is written as JSON text, so no value is lost and none is turned into another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Unit = Literal["s", "ms", "us", "ns"]

UNITS: tuple[Unit, ...] = ("s", "ms", "us", "ns")
ITEM = "[]"
MAX_FIELDS = 1000
MAX_DIGITS = 76


@dataclass(frozen=True, slots=True)
class Nothing:
    """Only None so far: joins anything."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Values that need no further facts."""

    name: Literal["bool", "binary", "date", "time"]


@dataclass(frozen=True, slots=True)
class Text:
    """Strings, and UUIDs as strings."""

    uuids: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """Integers of any size, from `low` to `high`."""

    low: int
    high: int
    exact: bool
    """Each of them is some float exactly."""


@dataclass(frozen=True, slots=True)
class Real:
    """Floats, and integers that are some float exactly."""

    single: bool
    """Each of them is some 32-bit float exactly."""
    whole: bool = False
    """There are integers among them."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Dates with a time of day; `zone` is None for naive ones, which do not join others."""

    zone: str | None
    unit: Unit
    """The coarsest unit that keeps them all."""
    far: bool = False
    """Some lie outside of the years that 64 bits of nanoseconds can count."""


@dataclass(frozen=True, slots=True)
class Span:
    """Time spans."""

    unit: Unit
    far: bool = False


@dataclass(frozen=True, slots=True)
class Fixed:
    """Finite decimals with at most this many digits before and behind the point."""

    before: int
    behind: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """Lists and tuples."""

    item: Shape
    length: int | None = None
    """Where all have the same."""
    arrays: bool = False
    """There are arrays among them."""


@dataclass(frozen=True, slots=True)
class Record:
    """Dicts, joined field by field; a field that a row lacks is None there."""

    fields: Mapping[str, Shape] = field(default_factory=dict[str, "Shape"])


@dataclass(frozen=True, slots=True)
class Picture:
    """PIL images."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Arrays of numbers or booleans."""

    dtype: str
    dims: tuple[int | None, ...]
    """None where the extents differ."""
    item: Shape


@dataclass(frozen=True, slots=True)
class Mixed:
    """Values that do not join: JSON text."""

    path: tuple[str, ...]
    """Where in the column, `[]` standing for the items of a list."""
    reason: str


Shape: TypeAlias = (
    Nothing | Plain | Text | Whole | Real | Moment | Span | Fixed | Sequence | Record | Picture | Tensor | Mixed
)


def join(one: Shape, other: Shape) -> Shape:
    """The shape of a column that holds values of both."""
    if one == other or isinstance(other, Nothing):
        return one
    match one, other:
        case (Nothing(), _):
            return other
        case (Mixed(), _):
            return one
        case (_, Mixed()):
            return other
        case (Text(), Text()):
            return Text(uuids=True)
        case (Whole(), Whole()):
            return Whole(min(one.low, other.low), max(one.high, other.high), one.exact and other.exact)
        case (Real(), Real()):
            return Real(one.single and other.single, one.whole or other.whole)
        case (Real(), Whole()):
            return _join_whole(one, other)
        case (Whole(), Real()):
            return _join_whole(other, one)
        case (Moment(), Moment()) if (one.zone is None) == (other.zone is None):
            zone = one.zone if one.zone == other.zone else "UTC"
            return Moment(zone, _finer(one.unit, other.unit), one.far or other.far)
        case (Span(), Span()):
            return Span(_finer(one.unit, other.unit), one.far or other.far)
        case (Fixed(), Fixed()):
            return Fixed(max(one.before, other.before), max(one.behind, other.behind))
        case (Record(), Record()):
            return _join_records(one, other)
        case (Tensor(), Tensor()) if one.dtype == other.dtype and len(one.dims) == len(other.dims):
            dims = tuple(a if a == b else None for a, b in zip(one.dims, other.dims, strict=True))
            return Tensor(one.dtype, dims, join(one.item, other.item))
        case (Tensor() | Sequence(), Tensor() | Sequence()):
            return _join_sequences(as_sequence(one), as_sequence(other))
        case _:
            return Mixed((), f"{describe(one)} and {describe(other)} do not join")


def settle(shape: Shape) -> Shape:
    """The shape of a finished column: what no column type can hold is `Mixed`."""
    match shape:
        case Whole() if not fits_64_bits(shape):
            return Mixed((), "integers beyond 64 bits")
        case Moment(unit="ns", far=True):
            return Mixed((), "times with nanoseconds and times far away")
        case Span(unit="ns", far=True):
            return Mixed((), "spans with nanoseconds and long spans")
        case Fixed() if shape.before + shape.behind > MAX_DIGITS:
            return Mixed((), f"decimals of more than {MAX_DIGITS} digits")
        case Record() if len(shape.fields) > MAX_FIELDS:
            return Mixed((), f"dicts with more than {MAX_FIELDS} different keys")
        case Record():
            return record({name: settle(value) for name, value in shape.fields.items()})
        case Sequence():
            return sequence(settle(shape.item), shape.length, shape.arrays)
        case _:
            return shape


def sequence(item: Shape, length: int | None, arrays: bool = False) -> Shape:
    """A list of such items; one whose items do not join is mixed itself."""
    if isinstance(item, Mixed):
        return Mixed((ITEM, *item.path), item.reason)
    return Sequence(item, length, arrays)


def record(fields: Mapping[str, Shape]) -> Shape:
    """A dict of such fields; one with a field whose values do not join is mixed itself."""
    for name, shape in fields.items():
        if isinstance(shape, Mixed):
            return Mixed((name, *shape.path), shape.reason)
    return Record(fields)


def as_sequence(shape: Tensor | Sequence) -> Sequence:
    """An array as the nested lists that hold the same values."""
    if isinstance(shape, Sequence):
        return shape
    item = shape.item
    for extent in reversed(shape.dims[1:]):
        item = Sequence(item, extent)
    return Sequence(item, shape.dims[0], arrays=True)


def fits_64_bits(shape: Whole) -> bool:
    """Whether one 64-bit integer type holds all of them."""
    return (shape.low >= -(2**63) and shape.high < 2**63) or (shape.low >= 0 and shape.high < 2**64)


def describe(shape: Shape) -> str:
    """What a message calls values of this shape."""
    match shape:
        case Nothing():
            return "None"
        case Plain():
            return {"bool": "bool", "binary": "bytes", "date": "date", "time": "time"}[shape.name]
        case Text():
            return "str"
        case Whole() if not fits_64_bits(shape):
            return "int beyond 64 bits"
        case Whole():
            return "int" if shape.exact else "int that no float holds exactly"
        case Real():
            return "float"
        case Moment():
            return "datetime" if shape.zone is None else "datetime with time zone"
        case Span():
            return "timedelta"
        case Fixed():
            return "Decimal"
        case Sequence():
            return "list"
        case Record():
            return "dict"
        case Picture():
            return "image"
        case Tensor():
            return "array"
        case Mixed():
            return shape.reason


def _join_whole(real: Real, whole: Whole) -> Shape:
    if not whole.exact:
        return Mixed((), "float and int that no float holds exactly do not join")
    # 2**24 is where 32-bit floats begin to leave out integers.
    return Real(real.single and whole.low >= -(2**24) and whole.high <= 2**24, whole=True)


def _join_records(one: Record, other: Record) -> Shape:
    fields = dict(one.fields)
    for name, shape in other.fields.items():
        fields[name] = join(fields[name], shape) if name in fields else shape
    return record(fields)


def _join_sequences(one: Sequence, other: Sequence) -> Shape:
    length = one.length if one.length == other.length else None
    return sequence(join(one.item, other.item), length, one.arrays or other.arrays)


def _finer(one: Unit, other: Unit) -> Unit:
    return UNITS[max(UNITS.index(one), UNITS.index(other))]

"""Shapes as features of `datasets`, and whether values fit a feature that a given dataset declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from distilmq.dataset.libraries import datasets, pa
from distilmq.dataset.shapes import (
    UNITS,
    Fixed,
    Mixed,
    Moment,
    Nothing,
    Picture,
    Plain,
    Real,
    Record,
    Sequence,
    Shape,
    Span,
    Tensor,
    Text,
    Whole,
    as_sequence,
    fits_64_bits,
)

_PLAIN = {"bool": "bool", "binary": "binary", "date": "date32", "time": "time64[us]"}
_ARRAYS: dict[int, Any] = {2: datasets.Array2D, 3: datasets.Array3D, 4: datasets.Array4D, 5: datasets.Array5D}


def feature_of(shape: Shape) -> Any:
    """The feature that holds values of this shape as they are."""
    match shape:
        case Nothing():
            return datasets.Value("null")
        case Plain():
            return datasets.Value(_PLAIN[shape.name])
        case Text():
            return datasets.Value("string")
        case Whole():
            return datasets.Value("int64" if shape.high < 2**63 else "uint64")
        case Real():
            return datasets.Value("float64")
        case Moment():
            unit = "ns" if shape.unit == "ns" else "us"
            return datasets.Value(f"timestamp[{unit}]" if shape.zone is None else f"timestamp[{unit}, tz={shape.zone}]")
        case Span():
            return datasets.Value("duration[ns]" if shape.unit == "ns" else "duration[us]")
        case Fixed():
            return datasets.Value(_decimal_name(shape))
        case Sequence():
            return datasets.List(feature_of(shape.item))
        case Record(fields) if not fields:
            # A struct without fields cannot be written to Parquet; as JSON it comes back as the empty dict it is.
            return datasets.Json()
        case Record():
            return {name: feature_of(value) for name, value in shape.fields.items()}
        case Picture():
            return datasets.Image()
        case Tensor():
            return _feature_of_tensor(shape)
        case Mixed():
            return datasets.Value("string")


def _decimal_name(shape: Fixed) -> str:
    digits = max(1, shape.before + shape.behind)
    return f"decimal{128 if digits <= 38 else 256}({digits}, {shape.behind})"


def _feature_of_tensor(shape: Tensor) -> Any:
    if is_array(shape):
        return _ARRAYS[len(shape.dims)](shape=shape.dims, dtype=shape.dtype)
    feature: Any = datasets.Value(shape.dtype)
    for _ in shape.dims:
        feature = datasets.List(feature)
    return feature


def is_array(shape: Tensor) -> bool:
    """Whether an array feature can tell the shape: only the first extent may differ between rows."""
    return len(shape.dims) in _ARRAYS and all(shape.dims[1:]) and shape.dims[0] != 0


def fits(shape: Shape, feature: Any) -> bool:
    """Whether a declared feature holds all values of this shape, each as it is."""
    if isinstance(shape, Nothing):
        return True
    if isinstance(feature, datasets.Json):
        return True
    if isinstance(feature, datasets.Image):
        return isinstance(shape, Picture) or fits_type(shape, feature())
    if isinstance(feature, datasets.ClassLabel):
        return isinstance(shape, Whole) and shape.low >= -1 and shape.high < feature.num_classes
    if isinstance(feature, datasets.Translation):
        return fits(shape, dict.fromkeys(feature.languages, datasets.Value("string")))
    if isinstance(feature, Mapping):
        fields = cast("Mapping[str, Any]", feature)
        return isinstance(shape, Record) and all(
            name in fields and fits(value, fields[name]) for name, value in shape.fields.items()
        )
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        return _fits_list(shape, feature.feature, getattr(feature, "length", -1))
    if isinstance(feature, tuple(_ARRAYS.values())):
        return _fits_array(shape, feature)
    return hasattr(feature, "pa_type") and feature.pa_type is not None and fits_type(shape, feature())


def _fits_list(shape: Shape, item: Any, length: int) -> bool:
    if not isinstance(shape, (Sequence, Tensor)):
        return False
    shape = as_sequence(shape)
    return length in (-1, shape.length) and fits(shape.item, item)


def _fits_array(shape: Shape, feature: Any) -> bool:
    value = shape
    for extent in feature.shape:
        if not isinstance(value, (Sequence, Tensor)):
            return False
        value = as_sequence(value)
        if extent not in (None, value.length):
            return False
        value = value.item
    return fits_type(value, datasets.Value(feature.dtype)())


def fits_type(shape: Shape, type_: Any) -> bool:
    """Whether an Arrow type holds all values of this shape, each as it is."""
    types = pa.types
    match shape:
        case Nothing():
            return True
        case Plain("bool"):
            return types.is_boolean(type_)
        case Plain("binary"):
            return types.is_binary(type_) or types.is_large_binary(type_)
        case Plain("date"):
            return types.is_date32(type_)
        case Plain("time"):
            return type_ == pa.time64("us")
        case Text():
            return types.is_string(type_) or types.is_large_string(type_)
        case Whole():
            return types.is_integer(type_) and fits_64_bits(shape) and _in_range(shape, type_)
        case Real():
            return types.is_float64(type_) or (types.is_float32(type_) and shape.single)
        case Moment():
            return types.is_timestamp(type_) and type_.tz == shape.zone and _fine_enough(shape, type_.unit)
        case Span():
            return types.is_duration(type_) and _fine_enough(shape, type_.unit)
        case Fixed():
            digits = type_.precision - type_.scale if types.is_decimal(type_) else -1
            return digits >= shape.before and type_.scale >= shape.behind
        case Sequence():
            return (types.is_list(type_) or types.is_large_list(type_)) and fits_type(shape.item, type_.value_type)
        case Record():
            return types.is_struct(type_) and all(
                type_.get_field_index(name) >= 0 and fits_type(value, type_.field(name).type)
                for name, value in shape.fields.items()
            )
        case _:
            return False


def _in_range(shape: Whole, type_: Any) -> bool:
    bits = type_.bit_width
    if pa.types.is_signed_integer(type_):
        return -(2 ** (bits - 1)) <= shape.low and shape.high < 2 ** (bits - 1)
    return shape.low >= 0 and shape.high < 2**bits


def _fine_enough(shape: Moment | Span, unit: Any) -> bool:
    return UNITS.index(unit) >= UNITS.index(shape.unit) and not (unit == "ns" and shape.far)

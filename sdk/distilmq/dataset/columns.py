"""Values of a column to Arrow: most go as they are, some in another form that holds the same."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from PIL import Image

from distilmq.dataset.inference import field_values, plain_array
from distilmq.dataset.libraries import datasets, pa, table
from distilmq.dataset.shapes import Mixed, Picture, Real, Record, Sequence, Shape, Tensor, Text

# What each format keeps exactly.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_TIFF_MODES = frozenset({"I", "F", "CMYK", "LAB", "I;16B"})
_NEAREST_MODE = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}


class MisfitError(Exception):
    """A column could not be written as its shape says: it is written as JSON text instead."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason


def to_arrow(name: str, values: list[Any], shape: Shape, feature: Any) -> Any:
    """A column as an Arrow array of its feature's type.

    Raises:
        MisfitError: Arrow refuses the values.
    """
    type_ = datasets.features.features.get_nested_type(feature)
    try:
        array = pa.array(storable(values, shape, feature), type=storage_type(type_))
        return array if array.type == type_ else table.array_cast(array, type_)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise MisfitError(name, str(error)) from error


def storage_type(type_: Any) -> Any:
    """The type below all extension types: `pa.array` makes no extension arrays from Python values."""
    if isinstance(type_, pa.BaseExtensionType):
        return storage_type(type_.storage_type)
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(field.name, storage_type(field.type)) for field in type_])
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(storage_type(type_.value_type), type_.list_size)
    if pa.types.is_large_list(type_):
        return pa.large_list(storage_type(type_.value_type))
    if pa.types.is_list(type_):
        return pa.list_(storage_type(type_.value_type))
    return type_


def storable(values: list[Any], shape: Shape, feature: Any) -> list[Any]:
    """The values in a form that Arrow takes without losing anything."""
    if isinstance(shape, Mixed) or isinstance(feature, datasets.Json):
        return [None if value is None else json_text(value) for value in values]
    match shape:
        case Text(uuids=True):
            return [None if value is None else str(value) for value in values]
        case Real(whole=True):
            return [None if value is None else float(value) for value in values]
        case Picture():
            return [None if value is None else image_record(value) for value in values]
        case Tensor():
            return [None if value is None else value.tolist() for value in values]
        case Sequence() if _is_converted(shape):
            item = _item_feature(feature)
            return [None if value is None else storable(_items(value), shape.item, item) for value in values]
        case Record() if _is_converted(shape):
            return _storable_dicts(values, shape, feature)
        case _:
            return values


def _storable_dicts(values: list[Any], shape: Record, feature: Any) -> list[Any]:
    columns = {
        name: storable(field_values(values, name), field, feature[name] if isinstance(feature, Mapping) else None)
        for name, field in shape.fields.items()
    }
    rows = zip(*columns.values(), strict=True)
    return [
        None if value is None else dict(zip(columns, row, strict=True)) for value, row in zip(values, rows, strict=True)
    ]


def _is_converted(shape: Shape) -> bool:
    """Whether `storable` may change such values: plain ones are handed to Arrow's own loops."""
    match shape:
        case Text():
            return shape.uuids
        case Real():
            return shape.whole
        case Picture() | Tensor() | Mixed():
            return True
        case Sequence():
            return shape.arrays or _is_converted(shape.item)
        case Record(fields):
            return not fields or any(map(_is_converted, fields.values()))
        case _:
            return False


def _items(value: Any) -> list[Any]:
    return plain_array(value) if isinstance(value, np.ndarray) else list(value)


def _item_feature(feature: Any) -> Any:
    return getattr(feature, "feature", None)


def image_record(image: Image.Image) -> dict[str, Any]:
    """An image as `datasets.Image` stores it, in a format that keeps each pixel."""
    buffer = io.BytesIO()
    if image.mode not in _TIFF_MODES and image.mode not in _PNG_MODES:
        # Only modes that no file format has come here, of colour spaces and premultiplied alpha.
        image = image.convert(_NEAREST_MODE.get(image.mode, "RGB"))
    image.save(buffer, format="PNG" if image.mode in _PNG_MODES else "TIFF")
    return {"bytes": buffer.getvalue(), "path": None}


def json_text(value: Any) -> str:
    """A value as JSON; what JSON does not know is written as text, bytes and images in base64."""
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # A lone surrogate: JSON has an escape for it, UTF-8 has none.
        return json.dumps(value, default=_plain)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return plain_array(value)
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(cast("bytes", value))).decode()
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, Image.Image):
        return base64.b64encode(image_record(value)["bytes"]).decode()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    return str(value)

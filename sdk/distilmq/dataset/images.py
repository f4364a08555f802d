"""Columns of images as text, turned into images."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from distilmq.dataset.libraries import datasets


def with_images(value: Any, columns: Sequence[str]) -> Any:
    """A Dataset or DatasetDict whose columns of base64 text are images; columns it lacks are passed over."""
    if isinstance(value, datasets.DatasetDict):
        return datasets.DatasetDict({split: with_images(dataset, columns) for split, dataset in value.items()})
    found = [column for column in columns if column in value.column_names]
    if not found:
        return value
    features = value.features.copy()
    features.update({column: datasets.Image() for column in found})
    return value.map(_decoded, fn_kwargs={"columns": found}, features=features)


def _decoded(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    return {column: _image(row[column]) for column in columns}


def _image(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # "data:image/png;base64,…" is a common way to hand images on.
    text = value.partition(",")[2] if value.startswith("data:") else value
    return {"bytes": base64.b64decode(text), "path": None}

"""Dicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

K = TypeVar("K")


def group_dicts(*dicts: Mapping[K, Any], flatten: bool = False) -> dict[K, list[Any]]:
    """Several dicts as one, each key with the list of its values.

    Args:
        dicts: the dicts; a key that one of them lacks has fewer values.
        flatten: values that are lists are joined.
    """
    grouped: dict[K, list[Any]] = {}
    for each in dicts:
        for key, value in each.items():
            values = grouped.setdefault(key, [])
            if flatten and isinstance(value, list):
                values += value
            else:
                values.append(value)
    return grouped


def merge_dicts(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both dicts as one, dicts within them merged alike; the second's values count."""
    merged = dict(first)
    for key, value in second.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge_dicts(merged[key], value) if both else value  # pyright: ignore[reportUnknownArgumentType]  # checked
    return merged


def flatten_dict(nested: Mapping[str, Any]) -> dict[str, Any]:
    """A dict whose values that are dicts are JSON text."""
    return {key: json.dumps(value) if isinstance(value, dict) else value for key, value in nested.items()}


def without(mapping: Mapping[K, Any], keys: Iterable[K]) -> dict[K, Any]:
    """A dict without some of its keys."""
    left_out = set(keys)
    return {key: value for key, value in mapping.items() if key not in left_out}

"""Lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def flatten_list(lists: Iterable[Iterable[T]]) -> list[T]:
    """The items of lists, one behind the other."""
    return [item for items in lists for item in items]


flatten_responses = flatten_list

"""What to say of a column whose values do not join: which kinds it holds, where, and in which rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from distilmq.dataset.inference import infer, plain_array
from distilmq.dataset.shapes import ITEM, Mixed, Nothing, describe

_SHOWN = 3


class Conflict:
    """Counts the kinds of values of one mixed column, and remembers the first rows of each."""

    def __init__(self, column: str, shape: Mixed) -> None:
        self.column = column
        self._shape = shape
        self._rows: dict[str, list[int]] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Sequence[Any], first_row: int) -> None:
        """Looks at the column's next values."""
        for row, value in enumerate(values, start=first_row):
            for kind in _kinds(value, self._shape.path):
                self._counts[kind] = self._counts.get(kind, 0) + 1
                rows = self._rows.setdefault(kind, [])
                if len(rows) < _SHOWN:
                    rows.append(row)

    def message(self, leaf: str) -> str:
        """The warning: it names the column, the place in it, each kind and its first rows."""
        place = "".join(part if part == ITEM else f".{part}" for part in self._shape.path)
        kinds = ", ".join(f"{kind} ({self._where(kind)})" for kind in self._rows)
        return (
            f"Column '{self.column}' of '{leaf}' is written as JSON text: {self._shape.reason}"
            f"{f', at {self.column}{place}' if place else ''}. It holds {kinds}."
        )

    def _where(self, kind: str) -> str:
        rows, count = self._rows[kind], self._counts[kind]
        shown = ", ".join(map(str, rows))
        more = f" and {count - len(rows)} more" if count > len(rows) else ""
        return f"row{'s' if count > 1 else ''} {shown}{more}"


def _kinds(value: Any, path: Sequence[str]) -> list[str]:
    """The kinds of the values at a place of one row, each once."""
    shapes = (infer([found]) for found in _values_at(value, path))
    return list(dict.fromkeys(describe(shape) for shape in shapes if not isinstance(shape, Nothing)))


def _values_at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, np.ndarray):
        value = plain_array(value)
    if not path:
        yield value
    elif path[0] == ITEM and isinstance(value, (list, tuple)):
        for item in cast("Sequence[Any]", value):
            yield from _values_at(item, path[1:])
    elif isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        if path[0] in fields:
            yield from _values_at(fields[path[0]], path[1:])

"""The columns of a leaf, joined over all of its rows before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from distilmq.dataset.features import feature_of, fits
from distilmq.dataset.inference import infer
from distilmq.dataset.shapes import Mixed, Nothing, Shape, join, settle
from distilmq.dataset.spool import Rows


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is written."""

    name: str
    shape: Shape
    feature: Any

    @property
    def is_text(self) -> bool:
        """Whether its values are written as JSON text because they do not join."""
        return isinstance(self.shape, Mixed) and self.feature == feature_of(self.shape)

    def as_text(self, reason: str) -> Column:
        """The same column as JSON text."""
        shape = Mixed((), reason)
        return replace(self, shape=shape, feature=feature_of(shape))


class Schema:
    """The union of the types of all rows seen so far; columns in the order in which rows first had them."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape] = {}

    def add(self, rows: Rows) -> Schema:
        """Joins the types of more rows."""
        for name in dict.fromkeys(chain.from_iterable(rows)):
            shape = self._shapes.get(name, Nothing())
            if not isinstance(shape, Mixed):
                self._shapes[name] = join(shape, infer(values_of(rows, name)))
        return self

    def columns(self, given: Mapping[str, Any], known: Iterable[str]) -> list[Column]:
        """The columns, each with the feature that is given for it where that holds all values as they are.

        Args:
            given: features by column.
            known: the columns of a leaf that gave no row.
        """
        shapes = self._shapes or {name: Nothing() for name in known}
        columns: list[Column] = []
        for name, union in shapes.items():
            shape = settle(union)
            feature = given.get(name)
            if feature is None or not fits(shape, feature):
                feature = feature_of(shape)
            columns.append(Column(name, shape, feature))
        return columns


def values_of(rows: Rows, name: str) -> list[Any]:
    """One column of the rows; None where a row lacks it."""
    try:
        return [row[name] for row in rows]
    except KeyError:
        return [row.get(name) for row in rows]

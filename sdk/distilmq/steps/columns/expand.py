"""Several rows out of one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, cast

from pydantic import field_validator

from distilmq.constants import DISTILMQ_METADATA_KEY
from distilmq.steps.base import Step, StepInput
from distilmq.typing import Row, StepColumns, StepOutput


class ExpandColumns(Step):
    """Makes a row of each item of the lists in some columns.

    Several columns are expanded side by side; a shorter list is filled with None. A row whose column holds None
    or an empty list gives one row with None. A column that is expanded under another name stays as it is.

    Attributes:
        columns: the columns to expand, or a dict from them to their names in the output.
        encoded: whether the columns hold JSON text of lists; or which of them do.
        split_statistics: whether the token counts in the metadata are shared out among the rows.

    Input columns:
        - dynamic: the columns to expand.

    Output columns:
        - dynamic: the expanded columns.

    Categories:
        - columns

    Examples:
        Ask each of several instructions:

        ```python
        from distilmq.steps import ExpandColumns

        expand = ExpandColumns(columns={"instructions": "instruction"})
        expand.load()
        rows = next(expand.process([{"instructions": ["a", "b"], "id": 7}]))
        assert [(row["id"], row["instruction"]) for row in rows] == [(7, "a"), (7, "b")]
        ```
    """

    columns: dict[str, str | None] | list[str]
    encoded: bool | list[str] = False
    split_statistics: bool = False

    @field_validator("columns", mode="after")
    @classmethod
    def _as_dict(cls, columns: dict[str, str | None] | list[str]) -> dict[str, str | None]:
        return columns if isinstance(columns, dict) else dict.fromkeys(columns)

    @property
    def _names(self) -> dict[str, str]:
        """Each column to expand with its name in the output."""
        return {column: name or column for column, name in cast("dict[str, str | None]", self.columns).items()}

    @property
    def inputs(self) -> StepColumns:
        """The columns to expand."""
        return list(self._names)

    @property
    def outputs(self) -> StepColumns:
        """The expanded columns."""
        return list(self._names.values())

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Expands columns.

        Args:
            inputs: rows.

        Yields:
            A row per item.
        """
        yield [row for given in inputs for row in self._expanded(given)]

    def _expanded(self, row: Row) -> Iterator[Row]:
        names = self._names
        kept = {column: value for column, value in row.items() if column not in names.values()}
        lists = [self._items(row, column) for column in names]
        rows = list(itertools.zip_longest(*lists))
        metadata = kept.get(DISTILMQ_METADATA_KEY)
        for index, values in enumerate(rows):
            expanded = {**kept, **dict(zip(names.values(), values, strict=True))}
            if self.split_statistics and isinstance(metadata, dict):
                expanded[DISTILMQ_METADATA_KEY] = share_of(cast("dict[str, Any]", metadata), index, len(rows))
            yield expanded

    def _items(self, row: Row, column: str) -> list[Any]:
        value = row.get(column)
        if isinstance(value, str) and (self.encoded is True or (self.encoded and column in self.encoded)):
            value = json.loads(value)
        if value is None or value == []:
            return [None]
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"column '{column}' of step '{self.name}' holds a '{type(value).__name__}', not a list")
        return list(cast("list[Any]", value))


def share_of(metadata: dict[str, Any], index: int, rows: int) -> dict[str, Any]:
    """The metadata of one of several rows made of one: token counts are divided, so that their sum stays.

    A count that is no multiple of `rows` leaves its remainder to the first rows, one each.
    """
    return {
        key: _shared(value, index, rows) if key.startswith("statistics_") else value for key, value in metadata.items()
    }


def _shared(value: Any, index: int, rows: int) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value // rows + (index < value % rows)
    if isinstance(value, float):
        return value / rows
    if isinstance(value, dict):
        return {key: _shared(item, index, rows) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [items[index]] if len(items) == rows else [_shared(item, index, rows) for item in items]
    return value

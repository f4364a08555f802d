"""Putting rows and columns together, as the column steps do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from distilmq.constants import DISTILMQ_METADATA_KEY
from distilmq.errors import JoinError
from distilmq.typing import Row


def check_lengths(step: str, inputs: Sequence[list[Row]], branches: Sequence[str] = ()) -> None:
    """Raises JoinError, naming each branch and its count, when the lists of a join differ in length."""
    if len({len(rows) for rows in inputs}) < 2:
        return
    names = branches or [f"input {index}" for index in range(len(inputs))]
    counts = ", ".join(f"'{name}' gave {len(rows)}" for name, rows in zip(names, inputs, strict=True))
    raise JoinError(
        f"Step '{step}' joins rows one by one, but its inputs differ in length: {counts} rows. A step that drops or"
        " adds rows cannot stand in one branch only."
    )


def merge_metadata(rows: Iterable[Row]) -> dict[str, Any]:
    """The metadata of several rows as one; keys that differ in value become lists of the values."""
    merged: dict[str, list[Any]] = {}
    for row in rows:
        metadata = row.get(DISTILMQ_METADATA_KEY)
        for key, value in (cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}).items():
            values = merged.setdefault(key, [])
            if value not in values:
                values.append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in merged.items()}


def group_columns(
    *inputs: list[Row], group_columns: list[str], output_group_columns: list[str] | None = None
) -> list[Row]:
    """Zips lists of rows; the grouped columns become lists, one value per list of rows.

    Args:
        inputs: lists of equal length.
        group_columns: columns to group.
        output_group_columns: their names in the output; `grouped_<column>` when not given.

    Returns:
        Rows with the grouped columns as lists; other columns are those of the last list that has them.
    """
    outputs = output_group_columns or [f"grouped_{column}" for column in group_columns]
    return [_grouped(rows, dict(zip(group_columns, outputs, strict=True))) for rows in zip(*inputs, strict=True)]


def _grouped(rows: Sequence[Row], names: dict[str, str]) -> Row:
    result: Row = {}
    for row in rows:
        for column, value in row.items():
            if column not in names:
                result[column] = value
    for column, name in names.items():
        result[name] = [row.get(column) for row in rows]
    if any(DISTILMQ_METADATA_KEY in row for row in rows):
        result[DISTILMQ_METADATA_KEY] = merge_metadata(rows)
    return result


def merge_columns(row: Row, columns: list[str], new_column: str = "merged_column") -> Row:
    """A row with several of its columns as one list; lists among them are joined."""
    merged: list[Any] = []
    for column in columns:
        value = row.get(column)
        merged += cast("list[Any]", value) if isinstance(value, list) else [value]
    return {**{column: value for column, value in row.items() if column not in columns}, new_column: merged}

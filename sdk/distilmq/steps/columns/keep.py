"""Fewer columns."""

from __future__ import annotations

from collections.abc import Iterable

from distilmq.constants import DISTILMQ_METADATA_KEY
from distilmq.steps.base import Step, StepInput
from distilmq.typing import StepColumns, StepOutput


class KeepColumns(Step):
    """Keeps the columns named, in that order, and the metadata.

    Attributes:
        columns: the columns to keep.

    Input columns:
        - dynamic: the columns to keep.

    Output columns:
        - dynamic: the same.

    Categories:
        - columns

    Examples:
        Keep what a model is trained on:

        ```python
        from distilmq.steps import KeepColumns

        keep = KeepColumns(columns=["instruction", "generation"])
        keep.load()
        rows = next(keep.process([{"generation": "2", "instruction": "1 + 1?", "draft": "3"}]))
        assert rows == [{"instruction": "1 + 1?", "generation": "2"}]
        ```
    """

    columns: list[str]

    @property
    def inputs(self) -> StepColumns:
        """The columns to keep."""
        return self.columns

    @property
    def outputs(self) -> StepColumns:
        """The columns to keep."""
        return self.columns

    def kept_columns(self, available: Iterable[str]) -> list[str]:
        """The columns named, by their names in the output."""
        kept = list(self.get_outputs())
        return [*kept, DISTILMQ_METADATA_KEY] if DISTILMQ_METADATA_KEY in set(available) - set(kept) else kept

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Keeps columns.

        Args:
            inputs: rows.

        Yields:
            The rows with fewer columns.
        """
        columns = [*self.columns, DISTILMQ_METADATA_KEY]
        yield [{column: row[column] for column in columns if column in row} for row in inputs]

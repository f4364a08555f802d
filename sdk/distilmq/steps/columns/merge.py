"""Several columns of a row as one list."""

from __future__ import annotations

from collections.abc import Iterable

from distilmq.steps.base import Step, StepInput
from distilmq.steps.columns.utils import merge_columns
from distilmq.typing import StepColumns, StepOutput
from distilmq.utils.columns import unique


class MergeColumns(Step):
    """Makes one list of several columns of a row; lists among them are joined.

    Attributes:
        columns: the columns to merge.
        output_column: the name of the list, `merged_column` when not given.

    Input columns:
        - dynamic: the columns to merge.

    Output columns:
        - dynamic: `output_column`.

    Categories:
        - columns

    Examples:
        Put an answer beside other answers:

        ```python
        from distilmq.steps import MergeColumns

        merge = MergeColumns(columns=["answers", "answer"], output_column="answers")
        merge.load()
        rows = next(merge.process([{"answers": ["a", "b"], "answer": "c"}]))
        assert rows == [{"answers": ["a", "b", "c"]}]
        ```
    """

    columns: list[str]
    output_column: str | None = None

    @property
    def inputs(self) -> StepColumns:
        """The columns to merge."""
        return self.columns

    @property
    def outputs(self) -> StepColumns:
        """The list."""
        return [self.output_column or "merged_column"]

    def kept_columns(self, available: Iterable[str]) -> list[str]:
        """All but the merged ones, and the list."""
        merged = self.get_inputs()
        return unique([*(column for column in available if column not in merged), *self.get_outputs()])

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Merges columns.

        Args:
            inputs: rows.

        Yields:
            The rows, with one column for several.
        """
        yield [merge_columns(row, self.columns, self.output_column or "merged_column") for row in inputs]

"""Several rows as one, all their columns side by side."""

from __future__ import annotations

from typing import ClassVar

from distilmq.constants import DISTILMQ_METADATA_KEY
from distilmq.steps.base import Step, StepInput
from distilmq.steps.columns.utils import check_lengths, merge_metadata
from distilmq.typing import Row, StepOutput


class CombineOutputs(Step):
    """Joins the rows of the steps before it one by one: each output row has the columns of all.

    Where two steps give a column of one name, the later step's counts; the metadata is merged. Rows pair up by
    their place; where the lists differ in length, the run ends with an error that names each branch.

    Input columns:
        - dynamic: whatever the steps before it give.

    Output columns:
        - dynamic: all of it.

    Categories:
        - columns

    Examples:
        Put the columns of two steps together:

        ```python
        from distilmq.steps import CombineOutputs

        combine = CombineOutputs()
        combine.load()
        rows = next(combine.process([{"a": 1}], [{"b": 2}]))
        assert rows == [{"a": 1, "b": 2}]
        ```
    """

    equal_inputs: ClassVar[bool] = True

    def process(self, *inputs: StepInput) -> StepOutput:
        """Combines rows.

        Args:
            inputs: one list per step before it.

        Yields:
            As many rows as each list has.
        """
        check_lengths(self.name, inputs)
        yield [_combined(rows) for rows in zip(*inputs, strict=True)]


def _combined(rows: tuple[Row, ...]) -> Row:
    combined: Row = {}
    for row in rows:
        combined.update(row)
    if DISTILMQ_METADATA_KEY in combined:
        combined[DISTILMQ_METADATA_KEY] = merge_metadata(rows)
    return combined

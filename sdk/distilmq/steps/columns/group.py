"""Several rows as one, some of their columns as lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import model_validator

from distilmq.errors import DistilmqUserError
from distilmq.steps.base import Step, StepInput
from distilmq.steps.columns.utils import check_lengths, group_columns
from distilmq.typing import StepColumns, StepOutput
from distilmq.utils.columns import unique


class GroupColumns(Step):
    """Joins the rows of the steps before it one by one, and groups columns of theirs in lists.

    Where several steps give another column, the last step's counts; the metadata is merged. Rows pair up by
    their place; where the lists differ in length, the run ends with an error that names each branch.

    Attributes:
        columns: the columns to group.
        output_columns: their names in the output, `grouped_<column>` when not given.

    Input columns:
        - dynamic: the columns to group.

    Output columns:
        - dynamic: `output_columns`.

    Categories:
        - columns

    Examples:
        Group what two models wrote:

        ```python
        from distilmq.steps import GroupColumns

        group = GroupColumns(columns=["generation"], output_columns=["generations"])
        group.load()
        rows = next(group.process([{"generation": "a"}], [{"generation": "b"}]))
        assert rows == [{"generations": ["a", "b"]}]
        ```
    """

    columns: list[str]
    output_columns: list[str] | None = None

    equal_inputs: ClassVar[bool] = True

    @model_validator(mode="after")
    def _as_many_names(self) -> GroupColumns:
        if self.output_columns is not None and len(self.output_columns) != len(self.columns):
            raise DistilmqUserError(
                f"`output_columns` has to name as many columns as `columns`: {len(self.columns)},"
                f" not {len(self.output_columns)}."
            )
        return self

    @property
    def inputs(self) -> StepColumns:
        """The columns to group."""
        return self.columns

    @property
    def outputs(self) -> StepColumns:
        """The grouped columns."""
        return self.output_columns or [f"grouped_{column}" for column in self.columns]

    def kept_columns(self, available: Iterable[str]) -> list[str]:
        """All but the grouped ones, and the groups."""
        grouped = self.get_inputs()
        return unique([*(column for column in available if column not in grouped), *self.get_outputs()])

    def process(self, *inputs: StepInput) -> StepOutput:
        """Groups rows.

        Args:
            inputs: one list per step before it.

        Yields:
            As many rows as each list has.
        """
        check_lengths(self.name, inputs)
        yield group_columns(*inputs, group_columns=self.columns, output_group_columns=self.output_columns)

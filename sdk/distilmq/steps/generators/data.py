"""Rows from a list of dicts."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from distilmq.steps.base import GeneratorStep
from distilmq.typing import GeneratorStepOutput, Row, StepColumns
from distilmq.utils.columns import unique


class LoadDataFromDicts(GeneratorStep):
    """Gives the rows of a list.

    Attributes:
        data: the rows.

    Output columns:
        - dynamic: the columns of the rows.

    Categories:
        - load

    Examples:
        Load two rows:

        ```python
        from distilmq.steps import LoadDataFromDicts

        loader = LoadDataFromDicts(data=[{"instruction": "1 + 1?"}, {"instruction": "2 + 2?"}])
        loader.load()
        assert next(loader.process()) == ([{"instruction": "1 + 1?"}, {"instruction": "2 + 2?"}], True)
        ```
    """

    data: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]], repr=False)

    operational_fields: ClassVar[frozenset[str]] = frozenset({"data"})  # the fingerprint stands for it

    @property
    def outputs(self) -> StepColumns:
        """The columns of the rows, in the order in which they come first."""
        return unique(column for row in self.data for column in row)

    def num_rows(self) -> int | None:
        """How many rows the list has."""
        return len(self.data)

    def process(self, offset: int = 0) -> GeneratorStepOutput:
        """Gives the rows of the list, from an offset on.

        Args:
            offset: how many rows were given before.

        Yields:
            Rows, and whether they are the last.
        """
        yield from in_batches(self.data, self.batch_size or 1, offset)


def in_batches(rows: list[Row], size: int, offset: int = 0) -> GeneratorStepOutput:
    """The rows from an offset on, in batches; without any there is one empty, last batch."""
    start = min(offset, len(rows))
    while True:
        stop = start + size
        yield rows[start:stop], stop >= len(rows)
        if stop >= len(rows):
            return
        start = stop

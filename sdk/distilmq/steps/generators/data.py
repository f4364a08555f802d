"""Rows from a list of dicts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PrivateAttr

from distilmq.steps.base import GeneratorStep
from distilmq.steps.generators.fingerprints import of_rows
from distilmq.steps.generators.row_dump import dumped_rows, left_out, undumped_rows
from distilmq.steps.generators.row_file import LARGE, RowFile
from distilmq.typing import GeneratorStepOutput, Row, StepColumns
from distilmq.utils.columns import unique

_FEW = 1000
"""So many rows travel within the step; more go through a file."""


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

    data: Annotated[list[dict[str, Any]], BeforeValidator(undumped_rows)] = Field(
        default_factory=list[dict[str, Any]], repr=False
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"data"})  # the fingerprint stands for it
    dump_excluded: ClassVar[frozenset[str]] = frozenset({"data"})  # `dump` sees to it

    _file: RowFile | None = PrivateAttr(default=None)
    """Where the rows are when they do not travel within the step."""
    _columns: list[str] | None = PrivateAttr(default=None)

    @property
    def outputs(self) -> StepColumns:
        """The columns of the rows, in the order in which they come first."""
        if self._columns is not None:
            return self._columns
        return unique(itertools.chain.from_iterable(self.data))

    def num_rows(self) -> int | None:
        """How many rows the list has."""
        return self._file.rows if self._file is not None else len(self.data)

    def input_fingerprint(self) -> str:
        """A hash of the content of the rows."""
        return of_rows(self._rows(0))

    def dump(self, **options: Any) -> dict[str, Any]:
        """The step as plain data, its rows included, unless `with_rows=False` says otherwise."""
        with_rows = options.get("with_rows", True)
        data = dumped_rows(list(self._rows(0))) if with_rows else left_out(len(self.data))
        return {**super().dump(**options), "data": data}

    def stored(self, folder: Path) -> GeneratorStep:
        """The same step with its rows in a file, when they are many."""
        if len(self.data) <= _FEW or type(self).process is not LoadDataFromDicts.process:
            return self
        return self._in_file(RowFile.write(folder / "rows.pickle", self.data))

    def _in_file(self, file: RowFile) -> LoadDataFromDicts:
        stored = self.model_copy(update={"data": []})
        stored._columns = list(self.outputs)
        stored._file = file
        return stored

    def apart(self, folder: Path) -> tuple[GeneratorStep, list[Path]]:
        """The same step, and the file with its rows when they are large."""
        if not self.data or type(self).process is not LoadDataFromDicts.process:
            return self.carried(), []
        written = RowFile.write(folder / "rows.pickle", self.data)
        path = Path(written.path)
        if path.stat().st_size <= LARGE:
            path.unlink()
            return self.carried(), []
        return self._in_file(replace(written, path=path.name)), [path]

    def find_data(self, folder: Path) -> None:
        """See `GeneratorStep.find_data`."""
        if self._file is not None:
            self._file = replace(self._file, path=str(folder / self._file.path))

    def process(self, offset: int = 0) -> GeneratorStepOutput:
        """Gives the rows of the list, from an offset on.

        Args:
            offset: how many rows were given before.

        Yields:
            Rows, and whether they are the last.
        """
        yield from in_batches(self._rows(offset), self.batch_size or 1)

    def _rows(self, offset: int) -> Iterable[Row]:
        if self._file is not None:
            return self._file.read(offset)
        return itertools.islice(self.data, offset, None)


def in_batches(rows: Iterable[Row], size: int) -> GeneratorStepOutput:
    """Rows in batches, each with whether it is the last; without any there is one empty batch."""
    remaining = iter(rows)
    batch = list(itertools.islice(remaining, size))
    while True:
        following = list(itertools.islice(remaining, size)) if len(batch) == size else []
        yield batch, not following
        if not following:
            return
        batch = following

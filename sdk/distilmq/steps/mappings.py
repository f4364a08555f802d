"""Renaming columns around `process`, and giving them their names back after it.

`input_mappings={"text": "prompt"}` says that what the step calls `text` is the column `prompt`. Rows are
renamed before `process` and back after it, so that the mapping never shows outside. Where the rows had a
column `text` of their own, its value waits in the row itself, under a name that no one uses: whatever
`process` does with rows (drop some, make several of one, reorder them), what it copies keeps the value
that belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from distilmq.typing import Row

_WAITING = "__distilmq_waiting__"


class Mappings:
    """The mappings of a step, ready to be applied to rows."""

    def __init__(self, inputs: Mapping[str, str], outputs: Mapping[str, str], produced: Iterable[str]) -> None:
        """Prepares mappings.

        Args:
            inputs: the step's name of an input column to the column's own.
            outputs: the step's name of an output column to the one that it shall have.
            produced: the step's names of its output columns.
        """
        self._inputs = dict(inputs)
        self._outputs = dict(outputs)
        self._produced = set(produced)
        self._names: dict[str, list[str]] = {}
        for name, column in self._inputs.items():
            self._names.setdefault(column, []).append(name)
        self._back = {name: column for name, column in self._inputs.items() if name not in self._produced}

    def __bool__(self) -> bool:
        return bool(self._inputs or self._outputs)

    def before(self, row: Row) -> Row:
        """A row as `process` gets it."""
        if not self._inputs:
            return row
        given: Row = {}
        for column, value in row.items():
            names = self._names.get(column, ())
            for name in names:
                given[name] = value
            if names and any(name in self._back for name in names):
                continue  # comes back as the column by the renaming
            given[_WAITING + column if column in self._inputs else column] = value
        return given

    def after(self, row: Row) -> Row:
        """A row that `process` gave, as the next step gets it.

        Where several columns end under one name, what the step produced wins over what it passed on, and that
        over what gets its name back.
        """
        given: Row = {}
        ranks: dict[str, int] = {}
        for name, value in row.items():
            column, rank = self._outside(name)
            if rank > ranks.get(column, -1):
                given[column], ranks[column] = value, rank
        return given

    def _outside(self, name: str) -> tuple[str, int]:
        """What a column is called outside the step, and how strong its claim on that name is."""
        if name in self._outputs or name in self._produced:
            return self._outputs.get(name, name), 3
        if name in self._back:
            return self._back[name], 1
        if name.startswith(_WAITING):
            return name.removeprefix(_WAITING), 0
        return name, 2

"""One leaf's rows to its dataset: the first reading finds the schema, the second writes.

Most leaves show their whole schema in their first rows. So the first reading writes as well, in files that
nobody sees yet, as long as the rows fit what it began with; only when a later row widens the schema are
those files thrown away and the rows read again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from distilmq.dataset.columns import MisfitError
from distilmq.dataset.conflicts import Conflict
from distilmq.dataset.schema import Column, Schema, values_of
from distilmq.dataset.shapes import Mixed
from distilmq.dataset.spool import Rows, Spool
from distilmq.dataset.writer import LeafWriter, open_files
from distilmq.utils.frames import frames_to_user


class MixedTypesWarning(UserWarning):
    """The values of a column do not join: it is written as JSON text."""


def build_leaf(
    leaf: str,
    payloads: Iterable[bytes],
    data: Path,
    *,
    given: Mapping[str, Any],
    known: Iterable[str],
    in_memory: bool,
) -> Any:
    """The Dataset of a leaf.

    Args:
        leaf: the step's name.
        payloads: its rows, in order.
        data: folder of the dataset's files.
        given: features that columns had in the data they come from.
        known: its columns, for when there is no row.
        in_memory: reads the dataset into memory, for files that will not stay.
    """
    spool = Spool(data)
    try:
        schema = Schema()
        chunks = spool.fill(payloads)
        files = _write_while_reading(leaf, chunks, data, lambda rows: schema.add(rows).columns(given, known))
        if not files:
            for rows in chunks:
                schema.add(rows)
            files = _write(leaf, spool, data, schema.columns(given, known))
    finally:
        spool.close()
    return open_files(files, in_memory=in_memory)


class _WidenedError(Exception):
    """A row has another type than the rows before it."""


def _write_while_reading(
    leaf: str, chunks: Iterator[Rows], data: Path, columns_with: Callable[[Rows], list[Column]]
) -> list[Path]:
    """The files of all rows; none when the schema widened, and the chunks from there on are not taken yet."""
    first: Rows = next(chunks, None) or []
    columns = columns_with(first)
    try:
        with LeafWriter(data, leaf, columns) as writer:
            writer.write(first, _unmixed(columns))
            for rows in chunks:
                columns = columns_with(rows)
                if not writer.takes(columns):
                    raise _WidenedError
                writer.write(rows, _unmixed(columns))
    except (_WidenedError, MisfitError):
        return []
    return writer.files


def _unmixed(columns: list[Column]) -> list[Column]:
    # What a warning says of a mixed column is counted from the first row on, in the second reading.
    if any(column.is_text for column in columns):
        raise _WidenedError
    return columns


def _write(leaf: str, spool: Spool, data: Path, columns: list[Column]) -> list[Path]:
    while True:
        try:
            return _write_once(leaf, spool, data, columns)
        except MisfitError as misfit:
            # Arrow knows a limit that the shapes do not: the run's rows are worth more than the column's type.
            columns = _with_text(columns, misfit)


def _with_text(columns: list[Column], misfit: MisfitError) -> list[Column]:
    if any(column.is_text for column in columns if column.name == misfit.column):
        raise misfit
    return [column.as_text(misfit.reason) if column.name == misfit.column else column for column in columns]


def _write_once(leaf: str, spool: Spool, data: Path, columns: list[Column]) -> list[Path]:
    conflicts = [
        Conflict(column.name, column.shape) for column in columns if column.is_text and isinstance(column.shape, Mixed)
    ]
    first_row = 0
    with LeafWriter(data, leaf, columns) as writer:
        for rows in spool.chunks():
            writer.write(rows, columns)
            for conflict in conflicts:
                conflict.add(values_of(rows, conflict.column), first_row)
            first_row += len(rows)
    for conflict in conflicts:
        warnings.warn(conflict.message(leaf), MixedTypesWarning, stacklevel=frames_to_user())
    return writer.files

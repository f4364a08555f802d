"""Rows in a file, read from any row on without reading what comes before it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilmq.typing import Row

LARGE = 8 * 1024 * 1024
"""Bytes: data with more does not travel within its step."""
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RowFile:
    """Rows written in chunks.

    They are pickled, as they would be within the step that they belong to: the file is part of its definition,
    lies in the run's own folder and is as private as that.
    """

    path: str
    rows: int
    chunk: int
    """Rows in each chunk but the last."""
    offsets: tuple[int, ...]
    """Where each chunk begins."""

    @classmethod
    def write(cls, path: Path, rows: Sequence[Row]) -> RowFile:
        """Writes rows; what another call left behind half-way is replaced."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        offsets: list[int] = []
        with partial.open("wb") as file:
            partial.chmod(0o600)
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                offsets.append(file.tell())
                pickle.dump(list(rows[start : start + _ROWS_AT_ONCE]), file, protocol=pickle.HIGHEST_PROTOCOL)
        partial.replace(path)
        return cls(str(path.resolve()), len(rows), _ROWS_AT_ONCE, tuple(offsets))

    def read(self, offset: int = 0) -> Iterator[Row]:
        """The rows from an offset on."""
        first, skipped = divmod(offset, self.chunk)
        if first >= len(self.offsets):
            return
        with Path(self.path).open("rb") as file:
            file.seek(self.offsets[first])
            for _ in self.offsets[first:]:
                rows: list[Any] = pickle.load(file)  # our own file, see the class
                yield from rows[skipped:]
                skipped = 0

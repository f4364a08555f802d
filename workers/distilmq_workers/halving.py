"""A batch through a step, so that a row that raises takes no other row along.

When `process` raises, the batch is cut in two and each half is called once, down to the rows that raise
alone: they come out as None in the step's output columns, and are listed with their tracebacks. A step
that keeps state is not called again: its whole batch fails, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from distilmq.constants import DISTILMQ_METADATA_KEY
from distilmq.errors import DrainedError, RowTypeError, StepFatalError
from distilmq.protocol.messages import ErrorInfo, RowFailure
from distilmq.protocol.rows import decode_row, encode_row, join_rows
from distilmq_workers.failures import describe, short

Row = dict[str, Any]
Call = Callable[[Sequence[list[Row]], Sequence[int]], list[Row]]
"""Calls the step with one list of rows per input, and the places of these rows in the batch."""


@dataclass(slots=True)
class Outcome:
    """What came of a batch: its rows, encoded, and those that failed."""

    rows: list[bytes] = field(default_factory=list[bytes])
    failures: list[RowFailure] = field(default_factory=list[RowFailure])


class Halving:
    """One batch of a step on its way through `process`."""

    def __init__(
        self, call: Call, inputs: Sequence[list[bytes]], *, step: str, outputs: Sequence[str], stateful: bool
    ) -> None:
        self._call = call
        self._inputs = inputs
        self._step = step
        self._outputs = outputs
        self._stateful = stateful
        self._outcome = Outcome()
        self._even = len({len(rows) for rows in inputs}) <= 1

    def run(self) -> Outcome:
        """Calls the step until every row is through or has failed.

        Raises:
            StepFatalError, DrainedError: as the step raised them.
            Exception: the step raised on lists of different lengths, which cannot be halved.
        """
        self._span(0, max((len(rows) for rows in self._inputs), default=0))
        return self._outcome

    def _span(self, start: int, stop: int) -> None:
        try:
            rows = self._call(self._decoded(start, stop), range(start, stop))
            self._take(rows, start, stop)
        except (StepFatalError, DrainedError):
            raise
        except BaseException as error:  # the user's code may raise anything: it becomes the row's answer
            if not self._even or start == stop:
                raise
            self._failed(error, start, stop)

    def _decoded(self, start: int, stop: int) -> list[list[Row]]:
        """Fresh rows: a call that raised may have changed those it was given."""
        if not self._even:
            return [[decode_row(row) for row in rows] for rows in self._inputs]
        return [[decode_row(row) for row in rows[start:stop]] for rows in self._inputs]

    def _failed(self, error: BaseException, start: int, stop: int) -> None:
        if stop - start == 1 or self._stateful:
            told = describe(error)
            for row in range(start, stop):
                self._bury(row, told)
            return
        middle = (start + stop) // 2
        self._span(start, middle)
        self._span(middle, stop)

    def _take(self, rows: list[Row], start: int, stop: int) -> None:
        """Encodes what the step gave; of rows that answer to rows only those that cannot travel fail."""
        aligned = self._even and len(rows) == stop - start
        encoded: list[bytes] = []
        unfit: list[RowFailure] = []
        for place, row in enumerate(rows):
            try:
                encoded.append(encode_row(row))
            except RowTypeError as error:
                if not aligned:
                    raise
                told = describe(self._named(error))
                encoded.append(self._failed_row(start + place, told))
                unfit.append(self._failure(start + place, told))
        self._outcome.rows.extend(encoded)
        self._outcome.failures.extend(unfit)

    def _named(self, error: RowTypeError) -> RowTypeError:
        return RowTypeError(f"Step '{self._step}': {error}", column=error.column, type_name=error.type_name)

    def _bury(self, row: int, error: ErrorInfo) -> None:
        self._outcome.rows.append(self._failed_row(row, error))
        self._outcome.failures.append(self._failure(row, error))

    def _failure(self, row: int, error: ErrorInfo) -> RowFailure:
        given = [rows[row] for rows in self._inputs]
        return RowFailure(row=row, error=error, input=given[0] if len(given) == 1 else join_rows(given))

    def _failed_row(self, row: int, error: ErrorInfo) -> bytes:
        return encode_row(failed_row([rows[row] for rows in self._inputs], self._step, self._outputs, error))


def failed_row(inputs: Sequence[bytes], step: str, outputs: Sequence[str], error: ErrorInfo) -> Row:
    """A row as it went in, with None in the step's output columns and the error in its metadata."""
    merged: Row = {}
    metadata: Row = {}
    for encoded in inputs:
        row = decode_row(encoded)
        known = row.get(DISTILMQ_METADATA_KEY)
        metadata.update(cast(Row, known) if isinstance(known, dict) else {})
        merged.update(row)
    metadata[f"error_{step}"] = short(error)
    return {**merged, **dict.fromkeys(outputs), DISTILMQ_METADATA_KEY: metadata}

"""The row that is written for one that went on killing its workers: None in the step's output columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distilmq.protocol.messages import ErrorInfo
from distilmq.protocol.plan import StepSpec
from distilmq.protocol.rows import decode_rows, encode_row, join_rows

METADATA = "distilmq_metadata"


def buried_row(step: StepSpec, inputs: Iterable[bytes], error: ErrorInfo) -> tuple[bytes, bytes]:
    """The output of a buried row, as a payload of one row, and the input for the dead letters.

    Args:
        inputs: one payload of one row per predecessor that took part; of a join their columns are put together,
            an earlier predecessor's value standing where several have the column.
    """
    row: dict[str, Any] = {}
    for payload in inputs:
        for branch in decode_rows(payload):
            row = {**branch, **row}
    metadata: Any = row.get(METADATA)
    marked: dict[str, Any] = {**metadata} if isinstance(metadata, dict) else {}
    marked[f"error_{step.name}"] = f"{error.type}: {error.message}"
    output: dict[str, Any] = {**row, **dict.fromkeys(step.outputs), METADATA: marked}
    return join_rows([encode_row(output)]), encode_row(row)

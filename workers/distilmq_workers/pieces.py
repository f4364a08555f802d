"""The rows that a step gave as the frames of its result: one array of them, or several of a bounded size."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.errors import StepFatalError
from distilmq.protocol.rows import decode_row, encode_value, join_rows

HEADER_ROOM = 4 * 1024 * 1024
"""Bytes of a message that are left for its header; of a small message a quarter."""
_HEAD = 5
"""Bytes in front of an array, and of each row in it, at most."""


def frames_of(rows: list[bytes], *, step: str, size: str, max_message: int | None, max_part: int) -> tuple[bytes, ...]:
    """Encoded rows as frames; the list holds none of them afterwards, so that they are in memory once.

    Args:
        rows: of one result.
        step: that gave them.
        size: its setting that says how many rows a batch has.
        max_message: bytes of the largest message; None for any.
        max_part: bytes of one frame, if it has more than one row; 0 for all in one.

    Raises:
        StepFatalError: they, or one of them, cannot be sent.
    """
    limit = None if max_message is None else max_message - min(HEADER_ROOM, max_message // 4)
    if max_part:
        if limit is not None:
            _check_rows(rows, step, limit)
        return tuple(in_pieces(rows, max_part))
    frame = join_rows(rows)
    if limit is not None and len(frame) > limit:
        raise StepFatalError(
            f"a batch of step '{step}' gave {len(rows):,} rows of together {len(frame):,} bytes,"
            f" and a message holds at most {limit:,}; make `{size}` smaller"
        )
    return (frame,)


def in_pieces(rows: list[bytes], most: int) -> list[bytes]:
    """Arrays of encoded rows, each of at most so many bytes, or of one row.

    Args:
        rows: encoded; replaced in the list by nothing as they are put into arrays.
        most: bytes.
    """
    pieces: list[bytes] = []
    start = 0
    while start < len(rows) or not pieces:
        stop = _within(rows, start, most)
        pieces.append(join_rows(rows[start:stop]))
        rows[start:stop] = [b""] * (stop - start)
        start = stop
    return pieces


def _within(rows: Sequence[bytes], start: int, most: int) -> int:
    stop, size = start, _HEAD
    while stop < len(rows) and (stop == start or size + len(rows[stop]) + _HEAD <= most):
        size += len(rows[stop]) + _HEAD
        stop += 1
    return stop


def _check_rows(rows: Sequence[bytes], step: str, limit: int) -> None:
    for place, row in enumerate(rows):
        if len(row) > limit:
            sizes = {column: len(encode_value(value)) for column, value in decode_row(row).items()}
            column = max(sizes, key=lambda name: sizes[name])
            raise StepFatalError(
                f"step '{step}' gave a row of {len(row):,} bytes (row {place} of its batch, where column '{column}'"
                f" takes {sizes[column]:,}), and a row has at most {limit:,}: keep what is so large in a file"
                " (`save_artifact`, or a place that the next steps can read) and its path in the row"
            )

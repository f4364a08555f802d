"""Rows in a dump: as they are where JSON has words for them, encoded otherwise."""

from __future__ import annotations

import base64
from typing import Any, cast

from distilmq.errors import DistilmqUserError
from distilmq.protocol.rows import decode_rows, encode_rows
from distilmq.typing import Row
from distilmq.utils.files import holds_plain_rows

_KEY = "encoded_rows"
_LEFT_OUT = "rows_left_out"


def dumped_rows(rows: list[Row]) -> list[Row] | dict[str, str]:
    """Rows as plain data; with dates, images or arrays among them, as text that only we read."""
    if holds_plain_rows(rows):
        return list(rows)
    return {_KEY: base64.b64encode(encode_rows(rows)).decode("ascii")}


def left_out(rows: int) -> dict[str, int]:
    """What a dump says in the place of so many rows."""
    return {_LEFT_OUT: rows}


def undumped_rows(dumped: Any) -> Any:
    """The rows that `dumped_rows` dumped; anything else as it is.

    Raises:
        DistilmqUserError: they were left out.
    """
    if isinstance(dumped, dict) and _LEFT_OUT in dumped:
        raise DistilmqUserError(
            f"The {dumped[_LEFT_OUT]:,} rows of this step were too large for the dump of a submitted pipeline: put"
            " them where it has `rows_left_out`, or load them from a file."
        )
    if isinstance(dumped, dict) and _KEY in dumped:
        return decode_rows(base64.b64decode(cast("dict[str, str]", dumped)[_KEY]))
    return cast("Any", dumped)

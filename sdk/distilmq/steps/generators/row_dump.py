"""Rows in a dump: as they are where JSON has words for them, encoded otherwise."""

from __future__ import annotations

import base64
from typing import Any, cast

from distilmq.protocol.rows import decode_rows, encode_rows
from distilmq.typing import Row
from distilmq.utils.files import holds_plain_rows

_KEY = "encoded_rows"


def dumped_rows(rows: list[Row]) -> list[Row] | dict[str, str]:
    """Rows as plain data; with dates, images or arrays among them, as text that only we read."""
    if holds_plain_rows(rows):
        return list(rows)
    return {_KEY: base64.b64encode(encode_rows(rows)).decode("ascii")}


def undumped_rows(dumped: Any) -> Any:
    """The rows that `dumped_rows` dumped; anything else as it is."""
    if isinstance(dumped, dict) and _KEY in dumped:
        return decode_rows(base64.b64decode(cast("dict[str, str]", dumped)[_KEY]))
    return cast("Any", dumped)

"""msgpack with types: the one place that calls the untyped library."""

from __future__ import annotations

from typing import Any

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

_msgpack: Any = msgpack


class UnpackError(ValueError):
    """The data is no msgpack, or more than one value."""


def pack(value: Any) -> bytes:
    """Plain values (None, bool, 64-bit int, float, str, bytes, list, dict) as msgpack."""
    return _msgpack.packb(value)


def unpack(data: bytes) -> Any:
    """The value in msgpack data; lists come out as lists, binary as bytes.

    Raises:
        UnpackError: the data is no msgpack.
    """
    try:
        return _msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise UnpackError(str(error)) from error

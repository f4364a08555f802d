"""msgpack with types: the one place that calls the untyped library."""

from __future__ import annotations

from typing import Any

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

_msgpack: Any = msgpack


class UnpackError(ValueError):
    """The data is no msgpack, or more than one value."""


def pack(value: Any, *, broken_text: str = "surrogatepass") -> bytes:
    """Plain values (None, bool, 64-bit int, float, str, bytes, list, dict) as msgpack.

    Args:
        broken_text: what becomes of half a surrogate pair, for which UTF-8 has no bytes: models cut emoji in two,
            and paths hold bytes of any kind. By default `unpack` gives it back; `backslashreplace` makes it readable.
    """
    try:
        return _msgpack.packb(value)
    except UnicodeEncodeError:
        return _msgpack.packb(value, unicode_errors=broken_text)


def unpack(data: bytes) -> Any:
    """The value in msgpack data; lists come out as lists, binary as bytes.

    Raises:
        UnpackError: the data is no msgpack.
    """
    try:
        try:
            return _msgpack.unpackb(data, strict_map_key=False)
        except UnicodeDecodeError:
            return _msgpack.unpackb(data, strict_map_key=False, unicode_errors="surrogatepass")
    except (ValueError, msgpack.UnpackException) as error:
        raise UnpackError(str(error)) from error

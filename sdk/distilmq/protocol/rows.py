"""Rows to msgpack and back: each value comes out of the next step as it went in; nothing is ever pickled.

A payload is a msgpack array of `bin`, each of them one encoded row, so it is split, joined and routed
without decoding a row. Rows of plain values are packed by msgpack alone; what it does not know travels as
extension types (`row_types`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

from distilmq.errors import RemoteProtocolError
from distilmq.protocol.row_decoding import ExtensionHook, restore
from distilmq.protocol.row_types import FLAT, MAX_DEPTH, prepare, row_is_no_dict

Row = dict[str, Any]

_msgpack: Any = msgpack

_MALFORMED = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    OSError,
    RecursionError,
    msgpack.UnpackException,
)
"""What building values from data that nobody of ours encoded may raise."""


def encode_row(row: Row) -> bytes:
    """A row as msgpack.

    Raises:
        RowTypeError: a value cannot travel; the error names column, type and what to return instead.
    """
    if not isinstance(row, dict):  # pyright: ignore[reportUnnecessaryIsInstance]  # steps give anything
        raise row_is_no_dict(row)
    return _encode(row, _msgpack.packb)


def decode_row(data: bytes, *, hook: ExtensionHook = restore) -> Row:
    """The row that `encode_row` packed."""
    row = decode_value(data, hook=hook)
    if not isinstance(row, dict):
        raise RemoteProtocolError(f"a {type(row).__name__} where a row was expected")
    return row  # pyright: ignore[reportUnknownVariableType]


def encode_value(value: Any) -> bytes:
    """Anything that may stand in a row, for instance the array of one row per branch of a join."""
    return _encode(value, _msgpack.packb)


def decode_value(data: bytes, *, hook: ExtensionHook = restore) -> Any:
    """The value that `encode_value` packed.

    Raises:
        RemoteProtocolError: the data is no such value.
    """
    try:
        return _msgpack.unpackb(data, ext_hook=hook, strict_map_key=False)
    except UnicodeDecodeError:
        return _decode_broken_text(data, hook)
    except _MALFORMED as error:
        raise _not_a_row(error) from error


def encode_rows(rows: Iterable[Row]) -> bytes:
    """The payload of some rows."""
    return join_rows(encode_each(rows))


def encode_each(rows: Iterable[Row]) -> list[bytes]:
    """What `encode_row` gives for each row, faster for many."""
    # One packer for all: each allocates a buffer of its own.
    pack = _msgpack.Packer().pack
    encoded: list[bytes] = []
    for row in rows:
        # What `_is_plain` does for a row without lists and dicts, without the calls: steps spend their time here.
        if type(row) is dict:
            for key, value in row.items():
                if type(value) not in FLAT or type(key) is not str:
                    break
            else:
                try:
                    encoded.append(pack(row))
                except (OverflowError, UnicodeEncodeError):
                    encoded.append(_encode(row, pack))
                continue
        elif not isinstance(row, dict):  # pyright: ignore[reportUnnecessaryIsInstance]  # steps give anything
            raise row_is_no_dict(row)
        encoded.append(_encode(row, pack))
    return encoded


def decode_rows(payload: bytes, *, hook: ExtensionHook = restore) -> list[Row]:
    """The rows of a payload.

    Args:
        payload: as `encode_rows` gives it.
        hook: builds values from their extension types.
    """
    return decode_each(split_payload(payload), hook=hook)


def decode_each(encoded: Sequence[bytes], *, hook: ExtensionHook = restore) -> list[Row]:
    """What `decode_row` gives for each, faster for many."""
    unpack = _msgpack.unpackb
    try:
        # What `decode_row` does, without the calls around it.
        rows = [unpack(row, ext_hook=hook, strict_map_key=False) for row in encoded]
    except _MALFORMED:
        return [decode_row(row, hook=hook) for row in encoded]
    if not set(map(type, rows)) <= {dict}:
        raise RemoteProtocolError("a payload holds something that is no row")
    return rows


def split_payload(payload: bytes) -> list[bytes]:
    """The encoded rows of a payload, none of them decoded.

    Raises:
        RemoteProtocolError: the data is no payload.
    """
    try:
        rows = _msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as error:
        raise RemoteProtocolError(f"not a payload: {str(error)[:200]}") from error
    if not isinstance(rows, list) or not set(map(type, rows)) <= {bytes}:  # pyright: ignore[reportUnknownArgumentType]
        raise RemoteProtocolError("a payload is an array of encoded rows")
    return rows  # pyright: ignore[reportUnknownVariableType]


def join_rows(rows: Sequence[bytes]) -> bytes:
    """The payload of encoded rows."""
    return _msgpack.packb(rows if type(rows) is list else list(rows))


def count_rows(payload: bytes) -> int:
    """How many rows a payload of ours has."""
    unpacker = _msgpack.Unpacker()
    unpacker.feed(payload[:5])
    return unpacker.read_array_header()


def join_bodies(rows: int, bodies: Sequence[bytes]) -> bytes:
    """The payload of so many encoded rows that are given as the bytes behind the head of its array, in pieces."""
    return b"".join([_msgpack.Packer().pack_array_header(rows), *bodies])


def _decode_broken_text(data: bytes, hook: ExtensionHook) -> Any:
    """Text with half of a surrogate pair in it: rare, and slower for all if it were always looked for."""
    try:
        return _msgpack.unpackb(data, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")
    except _MALFORMED as error:
        raise _not_a_row(error) from error


def _not_a_row(error: Exception) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a row: {str(error)[:200]}")


def _encode(value: Any, pack: Any) -> bytes:
    if _is_plain(value, 0):
        try:
            return pack(value)
        except (OverflowError, UnicodeEncodeError):
            # An integer past 64 bits, or half of a surrogate pair: prepared and packed below.
            pass
    return _msgpack.packb(prepare(value, ()), unicode_errors="surrogatepass")


def _is_plain(value: Any, depth: int) -> bool:
    """Whether msgpack gives back exactly this value: builtin types only, strings for keys."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # of any value
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in FLAT and (depth > MAX_DEPTH or not _is_plain(item, depth + 1)):
                return False
        return True
    if kind is list:
        if set(map(type, value)) <= FLAT:
            return True
        return depth <= MAX_DEPTH and all(_is_plain(item, depth + 1) for item in value)
    return kind in FLAT

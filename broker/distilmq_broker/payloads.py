"""Payloads put together without being taken apart: an array of rows is a short head and the rows behind it."""

from __future__ import annotations

from collections.abc import Iterable

_FIX, _ARRAY16, _ARRAY32 = 0x90, 0xDC, 0xDD
"""First bytes of a msgpack array: with up to 15 elements (in the low half of the byte), up to 2¹⁶ - 1, 2³² - 1."""


def array_length(payload: bytes) -> int | None:
    """How many elements a msgpack array says it has; None for anything else."""
    return _head(payload)[0]


def array_body(payload: bytes) -> memoryview:
    """The elements of a msgpack array, without its head.

    Raises:
        ValueError: it is no array.
    """
    count, start = _head(payload)
    if count is None:
        raise ValueError("a payload is an array of encoded rows")
    return memoryview(payload)[start:]


def join_payloads(payloads: Iterable[bytes]) -> bytes:
    """One payload with the rows of several.

    Raises:
        ValueError: one of them is no array.
    """
    rows = 0
    bodies: list[bytes | memoryview] = [b""]
    for payload in payloads:
        bodies.append(array_body(payload))
        rows += array_length(payload) or 0
    bodies[0] = _new_head(rows)
    return b"".join(bodies)


def _head(payload: bytes) -> tuple[int | None, int]:
    """Elements of an array, and where the first begins."""
    first = payload[0] if payload else 0
    if first & 0xF0 == _FIX:
        return first & 0x0F, 1
    if first == _ARRAY16 and len(payload) >= 3:
        return int.from_bytes(payload[1:3], "big"), 3
    if first == _ARRAY32 and len(payload) >= 5:
        return int.from_bytes(payload[1:5], "big"), 5
    return None, 0


def _new_head(rows: int) -> bytes:
    if rows < 1 << 4:
        return bytes([_FIX | rows])
    if rows < 1 << 16:
        return bytes([_ARRAY16]) + rows.to_bytes(2, "big")
    return bytes([_ARRAY32]) + rows.to_bytes(4, "big")

"""Messages on a pipe between us and a child: each stands behind its length."""

from __future__ import annotations

import struct

LENGTH = struct.Struct("!I")


def framed(data: bytes) -> bytes:
    """Data behind its length."""
    return LENGTH.pack(len(data)) + data


def take_frame(received: bytearray) -> bytes | None:
    """Takes the first whole message out of what was received so far."""
    if len(received) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack_from(received)
    end = LENGTH.size + length
    if len(received) < end:
        return None
    data = bytes(received[LENGTH.size : end])
    del received[:end]
    return data

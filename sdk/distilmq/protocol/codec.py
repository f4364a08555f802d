"""Messages to frames and back: `[version, header, *payload frames]`.

Decoding is typed and bounded: what does not fit raises `RemoteProtocolError`, which a server counts and
answers, and never lets through. Nothing is ever unpickled here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from distilmq.errors import RemoteProtocolError
from distilmq.protocol import messages
from distilmq.protocol.packing import UnpackError, pack, unpack

VERSION = b"\x01"
MAX_HEADER = 4 * 1024 * 1024

FROM_PEER: TypeAdapter[messages.FromPeer] = TypeAdapter(messages.FromPeer)
TO_WORKER: TypeAdapter[messages.ToWorker] = TypeAdapter(messages.ToWorker)
TO_CLIENT: TypeAdapter[messages.ToClient] = TypeAdapter(messages.ToClient)


def encode(message: messages.Message, payload: Sequence[bytes] = ()) -> list[bytes]:
    """The frames of a message, whatever is in its texts: a log line or an exception must not end the one who tells."""
    return [VERSION, pack(message.model_dump(), broken_text="backslashreplace"), *payload]


def decode(frames: Sequence[bytes], adapter: TypeAdapter[Any]) -> tuple[Any, list[bytes]]:
    """The message in frames that a peer sent, and its payload frames.

    Raises:
        RemoteProtocolError: the frames are no message of the adapter's union.
    """
    if len(frames) < 2:
        raise RemoteProtocolError("a message has at least two frames")
    version, header, *payload = frames
    if version != VERSION:
        raise RemoteProtocolError(f"protocol version {version[:8]!r}, this is {VERSION!r}")
    if len(header) > MAX_HEADER:
        raise RemoteProtocolError(f"a header of {len(header)} bytes")
    try:
        return adapter.validate_python(unpack(header)), payload
    except (UnpackError, ValidationError) as error:
        raise RemoteProtocolError(f"not a message: {str(error)[:200]}") from error

"""Telling clients from workers where no key says it: on a socket of this user's own."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.errors import RemoteProtocolError
from distilmq.protocol import messages
from distilmq.protocol.broker_codec import FROM_CLIENT
from distilmq.protocol.codec import decode
from distilmq.transport.ports import Role


def is_client(role: Role, frames: Sequence[bytes]) -> bool:
    """Whether a message is a client's."""
    if role != "any":
        return role == "client"
    try:
        message, _ = decode(frames, FROM_CLIENT)
    except RemoteProtocolError:
        return False
    return not (isinstance(message, messages.Hello) and message.role != "client")

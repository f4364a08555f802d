"""Keys of the encrypted transport: who a listener is, and who may connect to it (CURVE, https://rfc.zeromq.org/spec/26).

A key is 32 bytes of Curve25519, written in Z85 (https://rfc.zeromq.org/spec/32) as 40 characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import zmq
from zmq.utils import z85

KeyRole = Literal["client", "worker"]
"""What the holder of a key may do: submit, follow, control and fetch runs; or compute for them."""

_KEY_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key and the secret that proves it."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionKeys:
    """What a peer needs to connect: it proves its own key, and speaks to the holder of the server's only."""

    server: str
    own: KeyPair


@dataclass(frozen=True, slots=True)
class Allowed:
    """A key that was let in at some time."""

    name: str
    role: KeyRole
    revoked: bool = False


AllowList = Mapping[str, Allowed]
"""Public key to whose it is. A key that is not in it never comes in."""


def new_pair() -> KeyPair:
    """A pair of keys that nobody else has."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def is_key(text: str) -> bool:
    """Whether a text is a key in Z85."""
    if len(text) != _KEY_CHARACTERS or not text.isascii():
        return False
    try:
        z85.decode(text.encode())
    except (KeyError, ValueError):
        return False
    return True


def key_text(key: bytes) -> str:
    """32 bytes as they stand in files."""
    return z85.encode(key).decode()

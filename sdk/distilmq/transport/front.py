"""The listener of a broker on TCP: encrypted, for keys on an allow-list, and unmoved by whoever else knocks.

Each message comes with the role of the key that its connection has proved. The list may change at any time: a key
that is revoked is not heard and not answered from the next look on, also over connections that it has already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import zmq

from distilmq.errors import DistilmqUserError
from distilmq.transport.handshakes import Handshakes
from distilmq.transport.keys import Allowed, AllowList, KeyPair
from distilmq.transport.ports import PeerId, PeerUnreachableError, Role
from distilmq.transport.refusals import Refusals
from distilmq.transport.zap import Gatekeeper
from distilmq.transport.zeromq import LINGER, RoutingEnd

HANDSHAKE = 10.0
"""Seconds in which a connection must have proved a key: others are cut."""
LOOK_AGAIN = 1.0
"""Seconds after which the allow-list is looked at again."""
MAX_FRAMES = 1024
"""In one message."""

_DROPPED_AT_ONCE = 256
_TAG = 8
"""Bytes in front of a peer's id that say which key it has."""


def listen(
    endpoint: str,
    *,
    keys: KeyPair,
    allowed: Callable[[], AllowList],
    max_message: int,
    refusals: Refusals | None = None,
    linger: float = LINGER,
    handshake: float = HANDSHAKE,
) -> FrontListener:
    """Binds a TCP endpoint.

    Args:
        endpoint: `tcp://<address>:<port>`, port `*` for a free one.
        keys: the server's own.
        allowed: the keys that may come in; asked at each handshake, and once a second at most for messages.
        max_message: bytes; what is larger is neither sent nor taken. A peer with a frame of twice the size is cut
            before it is read.
        refusals: counts and tells what was refused.
        linger: seconds that `close` waits for what is still to be sent.
        handshake: seconds in which a connection must have proved a key.

    Raises:
        DistilmqUserError: the address is in use, or not one of this machine, or none.
    """
    try:
        return FrontListener(
            endpoint,
            keys=keys,
            allowed=allowed,
            max_message=max_message,
            refusals=refusals or Refusals(),
            linger=linger,
            handshake=handshake,
        )
    except zmq.ZMQError as error:
        raise DistilmqUserError(f"Cannot listen at {endpoint}: {zmq.strerror(error.errno or 0)}") from error


class FrontListener(RoutingEnd):
    """See `ports.Front`; made by `listen`."""

    def __init__(
        self,
        endpoint: str,
        *,
        keys: KeyPair,
        allowed: Callable[[], AllowList],
        max_message: int,
        refusals: Refusals,
        linger: float,
        handshake: float,
    ) -> None:
        self.refusals = refusals
        """What was refused, by reason."""
        self._allowed = allowed
        self._list: AllowList = {}
        self._tags: dict[bytes, str] = {}
        self._look_again_at = 0.0
        super().__init__(endpoint, linger=linger, max_message=max_message)
        self._largest = max_message
        self._gatekeeper = Gatekeeper(self._context, self._may_come_in)
        self._handshakes = Handshakes(self._context, self._socket, refusals.count)
        for socket in (self._gatekeeper.socket, self._handshakes.monitor.socket):
            self._poller.register(socket, zmq.POLLIN)
        self._socket.curve_server = True
        self._socket.curve_publickey = keys.public.encode()
        self._socket.curve_secretkey = keys.secret.encode()
        # Who could not be asked about is turned away, not let in.
        self._socket.zap_domain = b"front"
        self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, int(handshake * 1000))
        self._socket.setsockopt(zmq.MAXMSGSIZE, 2 * max_message)
        self.bind(endpoint)

    @property
    def connections(self) -> int:
        """How many are open, with those that have not proved a key yet."""
        return self._handshakes.open

    @property
    def ended(self) -> int:
        """How many were open, said something and are not any more, whoever closed them."""
        return self._handshakes.ended

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """See `ports.Front.poll`; lets peers in on the way."""
        ready = self._wait(timeout, files)
        if any(source is self._handshakes.monitor.socket for source in ready):
            # Before peers are let in, so that each is known before it can say anything.
            self._handshakes.read()
        if any(source is self._gatekeeper.socket for source in ready):
            self._gatekeeper.answer()
        return {source for source in ready if isinstance(source, int)}

    def receive(self) -> tuple[PeerId, Role, list[bytes]] | None:
        """See `ports.Front.receive`."""
        for _ in range(_DROPPED_AT_ONCE):
            frames = self._receive_frames()
            if frames is None:
                return None
            key: str = frames[0].get("User-Id")
            self._handshakes.heard(frames[0].get(zmq.SRCFD), partial(self._told_of, key, frames[0]))
            holder = self._admitted(key)
            if holder is None:
                self.refusals.count("revoked key", self._told(key, frames[0].get("Peer-Address")))
            elif len(frames) > MAX_FRAMES or sum(map(len, frames)) > self._largest:
                self.refusals.count("too large", self._told(key, frames[0].get("Peer-Address")))
            else:
                peer, *message = [frame.bytes for frame in frames]
                return PeerId(_tag(key) + peer), holder.role, message
        return None

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """See `ports.Front.send`."""
        if self._admitted(self._tags.get(peer[:_TAG], "")) is None:
            raise PeerUnreachableError("the peer's key was revoked")
        self._send_to(peer[_TAG:], frames)

    def name_of(self, peer: PeerId) -> str:
        """The name that the key of a peer has in the allow-list."""
        allowed = self._current().get(self._tags.get(peer[:_TAG], ""))
        return allowed.name if allowed is not None else ""

    def close(self) -> None:
        """See `ports.Front.close`."""
        if self._socket.closed:
            return
        self._handshakes.close()
        self._socket.close()
        self._gatekeeper.close()
        self._context.term()

    def _may_come_in(self, key: str, address: str) -> bool:
        self._look_again_at = 0.0
        if self._admitted(key) is not None:
            return True
        self.refusals.count("revoked key" if key in self._list else "unknown key", self._told(key, address))
        return False

    def _admitted(self, key: str) -> Allowed | None:
        allowed = self._current().get(key)
        return None if allowed is None or allowed.revoked else allowed

    def _current(self) -> AllowList:
        now = time.monotonic()
        if now >= self._look_again_at:
            self._look_again_at = now + LOOK_AGAIN
            latest = self._allowed()
            if latest is not self._list:
                self._list = latest
                self._tags = {_tag(key): key for key in latest}
        return self._list

    def _told_of(self, key: str, frame: Any) -> str:
        return self._told(key, frame.get("Peer-Address"))

    def _told(self, key: str, address: Any) -> str:
        allowed = self._list.get(key)
        return f"{allowed.name if allowed else key} from {address}"


def _tag(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=_TAG).digest()

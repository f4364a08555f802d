"""The transport over ZeroMQ: a ROUTER that listens, DEALERs that connect.

The rules come from faults that were reproduced: no identity is ever set (a peer that comes back under a
fixed one is silently unheard), the ROUTER is mandatory and never blocks (else it drops, or waits for one
slow peer), linger is finite (for ever hangs at exit, none loses the last message), and ZMTP heartbeats find
half-open connections. A socket is made, used and closed by one thread.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, cast

import zmq

from distilmq.transport.ports import Connection, Listener, PeerId, PeerUnreachableError

LINGER = 2_000
HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT = 5_000, 15_000
RECONNECT_FIRST, RECONNECT_LAST = (50, 200), 5_000
COPY_BELOW = 65_536
"""Bytes: a message with a larger frame is handed over without a copy."""


def listen(endpoint: str) -> Listener:
    """Binds a ROUTER; the port of `tcp://host:*` is found in the listener's `endpoint`."""
    socket = _socket(zmq.ROUTER)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    # Credits bound what is in flight; a high-water mark would only be a second, blind bound.
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.BACKLOG, 1_024)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError:
        socket.close(0)
        raise
    return ZeroMQListener(socket)


def connect(endpoint: str) -> Connection:
    """Connects a DEALER, now or as soon as somebody listens."""
    socket = _socket(zmq.DEALER)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, random.randint(*RECONNECT_FIRST))
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_LAST)
    socket.connect(endpoint)
    return ZeroMQConnection(socket)


def _socket(kind: int) -> zmq.Socket[bytes]:
    context = cast("zmq.Context[zmq.Socket[bytes]]", zmq.Context.instance())
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, LINGER)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_INTERVAL)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT)
    return socket


class _Polled:
    """A socket that is waited for together with file descriptors."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._files: set[int] = set()

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """Waits up to `timeout` seconds for a message or one of the files; see `ports.Listener`."""
        self._watch(set(files))
        ready: list[tuple[Any, int]] = self._poller.poll(max(0, round(timeout * 1_000)))
        return {file for file, _ in ready if isinstance(file, int)}

    def close(self) -> None:
        """Sends what is queued for at most the linger time, then closes."""
        self._socket.close()

    def _watch(self, files: set[int]) -> None:
        for gone in self._files - files:
            self._poller.unregister(gone)
        for new in files - self._files:
            self._poller.register(new, zmq.POLLIN)
        self._files = files

    def _receive(self) -> list[bytes] | None:
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _send(self, frames: Sequence[bytes]) -> None:
        copy = all(len(frame) < COPY_BELOW for frame in frames)
        self._socket.send_multipart(frames, zmq.NOBLOCK, copy=copy)


class ZeroMQListener(_Polled):
    """`ports.Listener` on a ROUTER socket."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        super().__init__(socket)
        self.endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def receive(self) -> tuple[PeerId, list[bytes]] | None:
        """The next message and who sent it, or None."""
        frames = self._receive()
        return (PeerId(frames[0]), frames[1:]) if frames else None

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """Hands frames to the peer's queue; raises PeerUnreachableError."""
        try:
            self._send([peer, *frames])
        except (zmq.Again, zmq.ZMQError) as error:
            raise PeerUnreachableError(str(error)) from error


class ZeroMQConnection(_Polled):
    """`ports.Connection` on a DEALER socket."""

    def receive(self) -> list[bytes] | None:
        """The next message, or None."""
        return self._receive()

    def send(self, frames: Sequence[bytes]) -> None:
        """Queues frames; raises PeerUnreachableError when the queue takes no more."""
        try:
            self._send(frames)
        except zmq.Again as error:
            raise PeerUnreachableError(str(error)) from error

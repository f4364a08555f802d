"""The transport over ZeroMQ: a ROUTER that listens, and DEALERs that connect.

What the options below are for was measured (docs/architecture.md): no identity is ever set, since a fixed one
makes a peer that reconnects silently unheard; a ROUTER tells of peers that it cannot reach instead of dropping
silently, and never blocks on one; a socket that is closed waits a finite time for what is still to be sent.
Each end has a context of its own and belongs to the thread that made it.

Within a machine, over `ipc`, the file system says who may connect. Over TCP keys do, on every address: a connection
needs them, and the listener of `front` has a list of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq

from distilmq.errors import DistilmqUserError
from distilmq.transport.keys import ConnectionKeys
from distilmq.transport.ports import KeyDeniedError, MessageTooLargeError, PeerId, PeerUnreachableError
from distilmq.transport.reaching import Reaching

LINGER = 2.0
"""Seconds that `close` waits for what is still to be sent."""
MAX_IPC_PATH = 100
"""Characters; the kernel's limit is 107 bytes."""

_COPY_BELOW = 256 * 1024
"""Bytes up to which copying a frame is cheaper than keeping track of it."""
_QUEUED_PER_PEER = 10_000
"""Messages for one peer; a fuse, since credit bounds what is sent."""
_BACKLOG = 4096
_NOW = int(zmq.NOBLOCK)
_NOW_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
"""As plain integers: to combine zmq's enums for each frame took a tenth of the coordinator's time."""
_HEARTBEAT = {zmq.HEARTBEAT_IVL: 5_000, zmq.HEARTBEAT_TIMEOUT: 30_000, zmq.HEARTBEAT_TTL: 30_000}
"""Milliseconds. For half-open TCP connections; the kernel tells when the other end of an ipc one is gone."""


def listen(endpoint: str, *, linger: float = LINGER, max_message: int | None = None) -> ZeromqListener:
    """Binds an endpoint of this machine.

    Args:
        endpoint: `ipc://<path>`; the folder is made, for this user only.
        linger: seconds that `close` waits for what is still to be sent.
        max_message: bytes; `send` refuses what is larger.

    Raises:
        DistilmqUserError: it is a TCP endpoint; only a broker listens there, see `front.listen`.
    """
    if not endpoint.startswith("ipc://"):
        raise DistilmqUserError(
            f"Nothing listens on {endpoint} without keys, not even for this machine alone. Start a broker, which has"
            " them: distilmq broker start --bind tcp://ADDRESS:PORT"
        )
    return ZeromqListener(endpoint, linger=linger, max_message=max_message)


def connect(
    endpoint: str, *, keys: ConnectionKeys | None = None, linger: float = LINGER, max_message: int | None = None
) -> ZeromqConnection:
    """Connects to an endpoint, now or as soon as somebody listens there, and again after every cut.

    Args:
        endpoint: `ipc://<path>` or `tcp://<address>:<port>`.
        keys: of a TCP endpoint; a connection file has them, see `connection_file`.
        linger: seconds that `close` waits for what is still to be sent.
        max_message: bytes; `send` refuses what is larger.

    Raises:
        DistilmqUserError: it is a TCP endpoint, and there are no keys.
    """
    if keys is None and not endpoint.startswith("ipc://"):
        raise DistilmqUserError(
            f"{endpoint} is reached with keys only. Give the connection file instead of the address, or name it in"
            " DISTILMQ_CONNECTION: the broker keeps one for clients, keys/client.json, and one for workers,"
            " keys/worker.json, in its directory, and `distilmq keys new` makes others"
        )
    return ZeromqConnection(endpoint, keys=keys, linger=linger, max_message=max_message)


class End:
    """What both ends share: a context, a socket, and waiting for it."""

    def __init__(self, kind: int, endpoint: str, *, linger: float, max_message: int | None) -> None:
        self.endpoint = endpoint
        self.max_message = max_message
        """Bytes of the largest message to send; None for no limit."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.linger = int(linger * 1000)
        self._socket.copy_threshold = _COPY_BELOW
        self._socket.sndhwm = _QUEUED_PER_PEER
        if not endpoint.startswith("ipc://"):
            for option, value in _HEARTBEAT.items():
                self._socket.setsockopt(option, value)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._files: frozenset[int] = frozenset()

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """See `ports.Listener.poll`."""
        return {source for source in self._wait(timeout, files) if isinstance(source, int)}

    def fileno(self) -> int:
        """Readable when something may have come: what waits must be received, all of it, before the next look at it."""
        return self._socket.FD

    def close(self) -> None:
        """See `ports.Listener.close`."""
        if not self._socket.closed:
            self._socket.close()
            self._context.term()

    def _wait(self, timeout: float, files: Sequence[int]) -> list[Any]:
        """The sockets and files that are ready."""
        if self._files or files:
            self._watch(frozenset(files))
        # Rounded up: a wait that is cut short at the end would turn into a busy loop.
        return [source for source, _ in self._poller.poll(max(0, int(timeout * 1000 + 0.999)))]

    def _watch(self, files: frozenset[int]) -> None:
        if files == self._files:
            return
        for file in self._files - files:
            self._poller.unregister(file)
        for file in files - self._files:
            self._poller.register(file, zmq.POLLIN)
        self._files = files

    def _receive(self) -> list[bytes] | None:
        frames = self._receive_frames()
        return None if frames is None else [frame.bytes for frame in frames]

    def _receive_frames(self) -> list[Any] | None:
        # A frame knows whether another one follows; `recv_multipart` asks the socket, which takes twice as long.
        receive: Any = self._socket.recv
        try:
            frame = receive(_NOW, False)
        except zmq.Again:
            return None
        frames = [frame]
        while frame.more:
            frame = receive(_NOW, False)
            frames.append(frame)
        return frames

    def _check_size(self, frames: Sequence[bytes]) -> None:
        if self.max_message is None:
            return
        size = sum(map(len, frames))
        if size > self.max_message:
            raise MessageTooLargeError(size, self.max_message)

    def _send_parts(self, frames: Sequence[bytes]) -> None:
        send: Any = self._socket.send
        for frame in frames[:-1]:
            send(frame, _NOW_MORE, False)
        send(frames[-1], _NOW, False)


class RoutingEnd(End):
    """An end that many connect to; `endpoint` is the one that was really bound."""

    def __init__(self, endpoint: str, *, linger: float, max_message: int | None) -> None:
        super().__init__(zmq.ROUTER, endpoint, linger=linger, max_message=max_message)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.BACKLOG, _BACKLOG)

    def bind(self, endpoint: str) -> None:
        """Listens from here on; an end that cannot is closed."""
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError:
            self._socket.linger = 0
            self.close()
            raise
        self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT)

    def _send_to(self, peer: bytes, frames: Sequence[bytes]) -> None:
        self._check_size(frames)
        try:
            self._send_parts([peer, *frames])
        except zmq.Again as error:
            raise PeerUnreachableError("the peer's queue is full") from error
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            raise PeerUnreachableError("the peer is not connected") from error


class ZeromqListener(RoutingEnd):
    """See `ports.Listener`."""

    def __init__(self, endpoint: str, *, linger: float, max_message: int | None) -> None:
        _check_ipc_path(endpoint)
        Path(endpoint.removeprefix("ipc://")).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(endpoint, linger=linger, max_message=max_message)
        self.bind(endpoint)

    def receive(self) -> tuple[PeerId, list[bytes]] | None:
        """See `ports.Listener.receive`."""
        frames = self._receive()
        return None if frames is None else (PeerId(frames[0]), frames[1:])

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """See `ports.Listener.send`."""
        self._send_to(peer, frames)


class ZeromqConnection(End):
    """See `ports.Connection`."""

    def __init__(self, endpoint: str, *, keys: ConnectionKeys | None, linger: float, max_message: int | None) -> None:
        super().__init__(zmq.DEALER, endpoint, linger=linger, max_message=max_message)
        self._socket.sndhwm = 0
        self._reaching: Reaching | None = None
        if keys is not None:
            self._reaching = Reaching(self._context, self._socket, endpoint)
            self._socket.curve_serverkey = keys.server.encode()
            self._socket.curve_publickey = keys.own.public.encode()
            self._socket.curve_secretkey = keys.own.secret.encode()
        near = endpoint.startswith("ipc://")
        # With jitter, so that a thousand workers do not come back in one instant.
        self._socket.setsockopt(zmq.RECONNECT_IVL, random.randint(10, 30) if near else random.randint(100, 1000))
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500 if near else 10_000)
        self._socket.connect(endpoint)

    @property
    def trouble(self) -> str:
        """See `ports.Connection.trouble`."""
        if self._reaching is None:
            return ""
        self._reaching.read()
        return self._reaching.trouble

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """See `ports.Connection.poll`."""
        ready = self._wait(timeout, files)
        if self._reaching is not None:
            self._reaching.read()
        return {source for source in ready if isinstance(source, int)}

    def receive(self) -> list[bytes] | None:
        """See `ports.Connection.receive`."""
        return self._receive()

    def send(self, frames: Sequence[bytes]) -> None:
        """See `ports.Connection.send`."""
        self._check_size(frames)
        try:
            self._send_parts(frames)
        except zmq.Again as error:
            if self._reaching is None:
                raise
            # The queue has no bound. libzmq takes it away from a connection that was denied, and connects no more.
            raise KeyDeniedError(self.trouble + ".") from error

    def close(self) -> None:
        """See `ports.Connection.close`."""
        if self._reaching is not None and not self._socket.closed:
            self._reaching.monitor.close()
        super().close()


def _check_ipc_path(endpoint: str) -> None:
    path = endpoint.removeprefix("ipc://")
    if path != endpoint and len(path.encode()) > MAX_IPC_PATH:
        raise ValueError(f"the path of a local socket has at most {MAX_IPC_PATH} bytes, {path!r} has more")

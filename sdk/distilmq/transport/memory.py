"""A transport within one process, for tests: what is sent is there at once, unless a test swallows it."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence

from distilmq.transport.ports import PeerId, PeerUnreachableError

Frames = list[bytes]


class MemoryTransport:
    """One listener and any number of connections to it.

    Args:
        swallow: asked about each message (the peer it comes from or goes to, and its frames); one for which it
            says True is lost on the way, as into a cut link: the sender is not told.
    """

    def __init__(self, swallow: Callable[[PeerId, Sequence[bytes]], bool] = lambda peer, frames: False) -> None:
        self.swallow = swallow
        self.listener: MemoryListener | None = None
        self.connections: dict[PeerId, MemoryConnection] = {}
        self._waiting: list[tuple[PeerId, Frames]] = []
        self._ids = itertools.count(1)

    def listen(self, endpoint: str = "memory://") -> MemoryListener:
        """The one end that many connect to; opened again, it gets what was sent while nobody listened."""
        self.listener = MemoryListener(self, endpoint)
        for peer, frames in self._waiting:
            self.listener.inbox.put((peer, frames))
        self._waiting.clear()
        return self.listener

    def connect(self) -> MemoryConnection:
        """Another peer."""
        connection = MemoryConnection(self)
        self.attach(connection)
        return connection

    def attach(self, connection: MemoryConnection) -> None:
        """Gives a connection a new id: what happens when a peer comes back after a cut."""
        self.connections.pop(connection.peer, None)
        connection.peer = PeerId(b"peer-%d" % next(self._ids))
        self.connections[connection.peer] = connection

    def to_listener(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """Carries a message up."""
        if self.swallow(peer, frames):
            return
        if self.listener is None:
            self._waiting.append((peer, list(frames)))
        else:
            self.listener.inbox.put((peer, list(frames)))

    def to_peer(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """Carries a message down."""
        connection = self.connections.get(peer)
        if connection is None:
            raise PeerUnreachableError("the peer is not connected")
        if not self.swallow(peer, frames):
            connection.inbox.put((peer, list(frames)))


class MemoryListener:
    """See `ports.Listener`."""

    def __init__(self, transport: MemoryTransport, endpoint: str) -> None:
        self.endpoint = endpoint
        self.inbox = Inbox()
        self._transport = transport

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """See `ports.Listener.poll`."""
        return self.inbox.poll(timeout, files)

    def receive(self) -> tuple[PeerId, Frames] | None:
        """See `ports.Listener.receive`."""
        return self.inbox.take()

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """See `ports.Listener.send`."""
        self._transport.to_peer(peer, frames)

    def close(self) -> None:
        """See `ports.Listener.close`."""
        self._transport.listener = None
        self.inbox.close()


class MemoryConnection:
    """See `ports.Connection`."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.peer = PeerId(b"")
        self.inbox = Inbox()
        self._transport = transport

    @property
    def trouble(self) -> str:
        """See `ports.Connection.trouble`."""
        return ""

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """See `ports.Connection.poll`."""
        return self.inbox.poll(timeout, files)

    def receive(self) -> Frames | None:
        """See `ports.Connection.receive`."""
        taken = self.inbox.take()
        return None if taken is None else taken[1]

    def send(self, frames: Sequence[bytes]) -> None:
        """See `ports.Connection.send`."""
        self._transport.to_listener(self.peer, frames)

    def close(self) -> None:
        """See `ports.Connection.close`."""
        self._transport.connections.pop(self.peer, None)
        self.inbox.close()


class Inbox:
    """Messages that wait, and a descriptor that is readable while there may be one."""

    def __init__(self) -> None:
        self._messages: deque[tuple[PeerId, Frames]] = deque()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)

    def put(self, message: tuple[PeerId, Frames]) -> None:
        """Adds a message; any thread may."""
        self._messages.append(message)
        # A full bell rings already, and nobody reads what is sent to a closed end.
        with contextlib.suppress(OSError):
            self._ringer.send(b"!")

    def take(self) -> tuple[PeerId, Frames] | None:
        """The next message, or None."""
        return self._messages.popleft() if self._messages else None

    def poll(self, timeout: float, files: Sequence[int]) -> set[int]:
        """Waits for a message or a file."""
        readable, _, _ = select.select([self._bell, *files], [], [], 0 if self._messages else timeout)
        if self._bell in readable:
            with contextlib.suppress(BlockingIOError):
                self._bell.recv(65536)
        return {file for file in files if file in readable}

    def close(self) -> None:
        """Closes the descriptors; what waits is lost."""
        self._bell.close()
        self._ringer.close()

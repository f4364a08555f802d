"""A front for tests, and peers of every kind."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing

from distilmq.transport import front
from distilmq.transport.front import FrontListener
from distilmq.transport.keys import Allowed, ConnectionKeys, KeyPair, KeyRole, new_pair
from distilmq.transport.ports import PeerId, Role
from distilmq.transport.refusals import Refusals
from distilmq.transport.zeromq import ZeromqConnection, connect
from tests.waiting import PATIENCE

MAX_MESSAGE = 1_000_000

Received = tuple[PeerId, Role, list[bytes]]


class Guarded:
    """A front on a free port of this machine, its allow-list, and what it told of refusals."""

    def __init__(self) -> None:
        self.server = new_pair()
        self.allowed: dict[str, Allowed] = {}
        self.told: list[tuple[str, int, str]] = []
        self.front: FrontListener

    def key(self, role: KeyRole, name: str = "") -> KeyPair:
        """A new pair that is on the list."""
        pair = new_pair()
        self.allow(pair, Allowed(name or role, role))
        return pair

    def allow(self, pair: KeyPair, allowed: Allowed) -> None:
        """Another list, with one entry added or changed."""
        self.allowed = {**self.allowed, pair.public: allowed}

    @contextlib.contextmanager
    def connected(self, own: KeyPair, server: str = "") -> Iterator[ZeromqConnection]:
        """A connection with a key, which sends nothing yet."""
        keys = ConnectionKeys(server or self.server.public, own)
        with closing(connect(self.front.endpoint, keys=keys, linger=0)) as connection:
            yield connection

    def next(self, patience: float = PATIENCE) -> Received:
        """The next message, or a failed test."""
        found: list[Received] = []

        def came() -> bool:
            received = self.front.receive()
            found.extend([received] if received is not None else [])
            return bool(found)

        assert self.serve_until(came, patience), f"no message came; refused: {dict(self.front.refusals.counts)}"
        return found[0]

    def serve_until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> bool:
        """Goes on with the loop of a broker until something holds."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.front.poll(0.02)
        return True

    def refused(self, *reasons: str, times: int = 1) -> bool:
        """Whether so many come to be refused for one of the reasons; what comes in meanwhile is a failed test."""

        def counted() -> bool:
            received = self.front.receive()
            assert received is None, received
            return sum(self.front.refusals.counts[reason] for reason in reasons) >= times

        return self.serve_until(counted)

    def raw(self) -> socket.socket:
        """A TCP connection that says nothing."""
        host, _, port = self.front.endpoint.removeprefix("tcp://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE)


@contextlib.contextmanager
def guarded(
    endpoint: str = "tcp://127.0.0.1:*",
    *,
    handshake: float = front.HANDSHAKE,
    server: KeyPair | None = None,
    allowed: Mapping[str, Allowed] | None = None,
) -> Generator[Guarded]:
    """A front that listens."""
    world = Guarded()
    world.server = server or world.server
    world.allowed = dict(allowed or {})
    world.front = front.listen(
        endpoint,
        keys=world.server,
        allowed=lambda: world.allowed,
        max_message=MAX_MESSAGE,
        refusals=Refusals(lambda reason, count, detail: world.told.append((reason, count, detail))),
        handshake=handshake,
        linger=0.5,
    )
    with closing(world.front):
        yield world

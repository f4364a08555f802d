"""The front of a coordinator behind a broker: peers come through the broker, which also speaks for itself.

The broker hands on `[peer, role, version, header, *payload]` and takes `[peer, version, header, *payload]`; no peer is
the broker itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from distilmq.errors import RemoteProtocolError
from distilmq.protocol.broker_codec import TO_COORDINATOR
from distilmq.protocol.codec import decode, encode
from distilmq.transport.ports import Connection, PeerId, Role
from distilmq_broker.ports import FromBroker, ToBroker

_ROLES: dict[bytes, Role] = {b"client": "client", b"worker": "worker", b"any": "any"}
_BROKER = b""


class BrokeredFront:
    """See `transport.ports.Front` and `ports.BrokerLine`.

    Args:
        connection: to the broker's socket for its coordinators.
        endpoint: the same, to be shown.
    """

    def __init__(self, connection: Connection, *, endpoint: str) -> None:
        self.endpoint = endpoint
        self._connection = connection
        self._orders: deque[FromBroker] = deque()

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """See `Front.poll`."""
        return self._connection.poll(timeout, files)

    def receive(self) -> tuple[PeerId, Role, list[bytes]] | None:
        """See `Front.receive`."""
        while (frames := self._connection.receive()) is not None:
            if len(frames) < 2:
                continue
            peer, role, *message = frames
            if peer != _BROKER:
                return PeerId(peer), _ROLES[role], message
            self._orders.append(_order(message))
        return None

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """See `Front.send`; whether the peer is there, only the broker knows."""
        self._connection.send([peer, *frames])

    def orders(self) -> Iterable[FromBroker]:
        """See `BrokerLine.orders`."""
        while self._orders:
            yield self._orders.popleft()

    def tell(self, message: ToBroker) -> None:
        """See `BrokerLine.tell`."""
        self._connection.send([_BROKER, *encode(message)])

    def close(self) -> None:
        """See `Front.close`."""
        self._connection.close()


def _order(frames: Sequence[bytes]) -> FromBroker:
    try:
        order, _ = decode(frames, TO_COORDINATOR)
    except RemoteProtocolError as error:
        # It is started by the same version of the same program: this is a bug of ours.
        raise AssertionError(f"the broker said what is no order: {error}") from error
    return order

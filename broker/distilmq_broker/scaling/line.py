"""The line to the broker: what it is asked, and its answers."""

from __future__ import annotations

import os
import time

from distilmq.errors import DistilmqUserError, RemoteProtocolError
from distilmq.protocol.broker_codec import FROM_BROKER
from distilmq.protocol.codec import decode, encode
from distilmq.protocol.messages import Refused
from distilmq.protocol.messages.runs import Denied
from distilmq.protocol.messages.slots import Demand, DrainHost, ShowDemand
from distilmq.transport.addressed import Addressed
from distilmq.transport.ports import Connection

PATIENCE = 5.0
"""Seconds in which an answer comes, if the broker is there."""


class BrokerLine:
    """Asks as a client: see `ports.Broker`.

    Args:
        connection: to the broker; closed by `close`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = Addressed(connection)
        self._session = os.urandom(8).hex()

    def demand(self) -> Demand | None:
        """See `ports.Broker`; an answer to a question of before is as good."""
        self._connection.send(encode(ShowDemand(session=self._session)))
        deadline = time.monotonic() + PATIENCE
        answer: Demand | None = None
        while (left := deadline - time.monotonic()) > 0:
            while (frames := self._connection.receive()) is not None:
                answer = _demand(frames) or answer
            if answer is not None:
                return answer
            self._connection.poll(left)
        return None

    def drain(self, worker: str) -> None:
        """See `ports.Broker`."""
        self._connection.send(encode(DrainHost(session=self._session, worker=worker)))

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()


def _demand(frames: list[bytes]) -> Demand | None:
    try:
        message, _ = decode(frames, FROM_BROKER)
    except RemoteProtocolError as error:
        raise DistilmqUserError(f"The broker speaks another version of the protocol: {error}") from error
    if isinstance(message, (Denied, Refused)):
        raise DistilmqUserError(f"The broker says: {message.reason}{'; ' + message.fix if message.fix else ''}.")
    return message if isinstance(message, Demand) else None

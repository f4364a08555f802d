"""Sending to sessions. Whether a message arrived is never asked of the transport: only the ledger is believed."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.protocol.codec import encode
from distilmq.protocol.messages import Message
from distilmq.transport.ports import PeerId, PeerUnreachableError, Sender
from distilmq_broker.logbook import Logbook
from distilmq_broker.sessions import Sessions


class Post:
    """The way out."""

    def __init__(self, way: Sender, sessions: Sessions, log: Logbook) -> None:
        self._way = way
        self._sessions = sessions
        self._log = log

    def send(self, session: str, message: Message, payload: Sequence[bytes] = ()) -> None:
        """Sends to a session; to one that is gone, nothing: its leases end by other ways."""
        member = self._sessions.find(session)
        if member is None:
            self._log.debug("send_to_unknown_session", session=session, message=type(message).__name__)
            return
        self.send_to_peer(member.peer, message, payload)

    def send_to_peer(self, peer: PeerId, message: Message, payload: Sequence[bytes] = ()) -> None:
        """Sends on a connection, known or not."""
        try:
            self._way.send(peer, encode(message, payload))
        except PeerUnreachableError:
            self._log.debug("peer_unreachable", message=type(message).__name__)

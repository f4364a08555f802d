"""What the broker says to those outside: every message with the address that it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.protocol.codec import encode
from distilmq.protocol.messages import Message
from distilmq.transport.addressed import BROKER, with_address
from distilmq.transport.ports import Front, MessageTooLargeError, PeerId, PeerUnreachableError
from distilmq_broker.logbook import Logbook


class Way:
    """The way out of the front."""

    def __init__(self, front: Front, log: Logbook) -> None:
        self._front = front
        self._log = log

    def hand_on(self, run: str, peer: PeerId, frames: Sequence[bytes]) -> bool:
        """What a run says to a peer. One that is gone is nobody's fault: only ledgers are believed.

        Returns:
            Whether the peer is still connected, which does not say that it hears it.
        """
        try:
            self._front.send(peer, with_address(run, frames))
        except PeerUnreachableError:
            self._log.debug("peer_unreachable", run=run)
            return False
        except MessageTooLargeError as error:
            self._log.error("message_too_large", run=run, reason=str(error))
        return True

    def say(self, peer: PeerId, message: Message, payload: Sequence[bytes] = (), *, run: str = BROKER) -> bool:
        """What the broker says, in its own name or in that of a run without a coordinator; as `hand_on`."""
        return self.hand_on(run, peer, encode(message, payload))

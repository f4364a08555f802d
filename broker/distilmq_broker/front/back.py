"""The broker's socket for the coordinators that it has started: which connection is which run's."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.protocol.codec import encode
from distilmq.protocol.messages import Message
from distilmq.transport.ports import PeerId, PeerUnreachableError, Role
from distilmq.transport.zeromq import ZeromqListener

BROKER = b""
"""The place of a front peer in a message that the broker itself says, or is told."""


class Back:
    """Runs and their connections."""

    def __init__(self, listener: ZeromqListener) -> None:
        self.endpoint = listener.endpoint
        self._listener = listener
        self._places: dict[str, PeerId] = {}
        self._runs: dict[PeerId, str] = {}

    def fileno(self) -> int:
        """See `ZeromqListener.fileno`."""
        return self._listener.fileno()

    def receive(self) -> tuple[PeerId, list[bytes]] | None:
        """The connection and frames of the next message, or None; never blocks."""
        return self._listener.receive()

    def join(self, run: str, place: PeerId) -> None:
        """A coordinator is on that connection."""
        self.forget(run)
        self._places[run] = place
        self._runs[place] = run

    def forget(self, run: str) -> None:
        """A coordinator is gone."""
        place = self._places.pop(run, None)
        if place is not None:
            del self._runs[place]

    def run_of(self, place: PeerId) -> str | None:
        """The run whose coordinator is on a connection."""
        return self._runs.get(place)

    def hand_on(self, run: str, peer: PeerId, role: Role, frames: Sequence[bytes]) -> bool:
        """Hands a peer's message to a coordinator; tells whether it is on its way."""
        return self._send(run, [peer, role.encode(), *frames])

    def say(self, run: str, message: Message) -> bool:
        """Says something to a coordinator; tells whether it is on its way."""
        return self._send(run, [BROKER, b"any", *encode(message)])

    def close(self) -> None:
        """Closes the socket."""
        self._listener.close()

    def _send(self, run: str, frames: Sequence[bytes]) -> bool:
        place = self._places.get(run)
        if place is None:
            return False
        try:
            self._listener.send(place, frames)
        except PeerUnreachableError:
            return False
        return True

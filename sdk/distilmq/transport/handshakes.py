"""Watching connections come and go: which ones were no peers of ours, and why.

libzmq tells of a connection in events (https://api.zeromq.org/4-3:zmq-socket-monitor) that carry a file descriptor or
a reason, never both. A failure that has a reason is told right before its connection is closed. What is closed
without one, and has not said a word, spoke no ZeroMQ, or had nothing to say.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from distilmq.transport.monitor import Monitor

_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_PROTOCOL_REASONS = {
    int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH): "no key",
    int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC): "another server's key",
}


class Handshakes:
    """The connections of a listener.

    Args:
        context: of the listener.
        socket: the listener's; bound after this is made.
        failed: gets the reason of each connection that came to nothing, except those of which the gatekeeper knows.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes], failed: Callable[[str], None]
    ) -> None:
        self.ended = 0
        """Connections that said something and are closed."""
        self._failed = failed
        self._silent: set[int] = set()
        self._heard: set[int] = set()
        self._explained = 0
        """Connections that will be closed, and are counted already."""
        self.monitor = Monitor(context, socket, _EVENTS)

    @property
    def open(self) -> int:
        """Connections that are open, with those whose handshake is under way."""
        return len(self._silent) + len(self._heard)

    def heard(self, file: int) -> None:
        """A message came over a connection."""
        if file not in self._heard:
            self.read()
            self._silent.discard(file)
            self._heard.add(file)

    def read(self) -> None:
        """Takes what has been told; never blocks."""
        for event, value in self.monitor.events():
            self._take(event, value)

    def _take(self, event: int, value: int) -> None:
        match event:
            case zmq.EVENT_ACCEPTED:
                self._silent.add(value)
            case zmq.EVENT_DISCONNECTED:
                self._closed(value)
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._explained += 1
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._explained += 1
                self._failed(_PROTOCOL_REASONS.get(value, "broken handshake"))
            case _:
                self._explained += 1
                self._failed("handshake not finished")

    def _closed(self, file: int) -> None:
        if file in self._heard:
            self._heard.remove(file)
            self.ended += 1
            return
        self._silent.discard(file)
        if self._explained:
            self._explained -= 1
        else:
            self._failed("closed without a word")

"""Why a connection with keys does not come through, as far as its own end can tell."""

from __future__ import annotations

import zmq

from distilmq.transport.monitor import Monitor

_EVENTS = (
    zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class Reaching:
    """Follows the attempts of one connection."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.trouble = ""
        """What is wrong; empty when nothing is, or nothing is known."""
        self._endpoint = endpoint
        self.monitor = Monitor(context, socket, _EVENTS)

    def read(self) -> None:
        """Takes what has been told; never blocks."""
        for event, _ in self.monitor.events():
            self._take(event)

    def _take(self, event: int) -> None:
        match event:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.trouble = ""
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self.trouble = (
                    f"the broker at {self._endpoint} does not let this key in: it was revoked, or never added"
                    " (`distilmq keys list` shows those that are)"
                )
            case zmq.EVENT_CONNECT_RETRIED:
                # Also tried again after a refusal: that says more.
                self.trouble = self.trouble or f"nobody answers at {self._endpoint}"
            case _:
                self.trouble = (
                    f"who answers at {self._endpoint} hangs up: the connection file may be of another broker, or of"
                    " this one before its keys were changed"
                )

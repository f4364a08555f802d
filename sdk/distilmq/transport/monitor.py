"""What libzmq tells of the connections of a socket (https://api.zeromq.org/4-3:zmq-socket-monitor)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count

import zmq

_EVENT = struct.Struct("=HI")
_numbers = count()


class Monitor:
    """The events of one socket.

    Args:
        context: of the socket.
        watched: the socket; bound or connected after this is made.
        events: which ones, as zmq numbers them.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], watched: zmq.Socket[bytes], events: int) -> None:
        self._watched = watched
        endpoint = f"inproc://monitor-{next(_numbers)}"
        watched.monitor(endpoint, events)
        self.socket = context.socket(zmq.PAIR)
        self.socket.linger = 0
        # Without a bound: at one, libzmq would stop all traffic until the events were read.
        self.socket.rcvhwm = 0
        self.socket.connect(endpoint)

    def events(self) -> Iterator[tuple[int, int]]:
        """Each event since the last call, and its value; never blocks."""
        while True:
            try:
                yield _EVENT.unpack(self.socket.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                return

    def close(self) -> None:
        """Watches no more; the socket is still open."""
        self._watched.disable_monitor()
        self.socket.close()

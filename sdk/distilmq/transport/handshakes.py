"""Watching connections come and go: which ones were no peers of ours, and why.

libzmq tells of a connection in events (https://api.zeromq.org/4-3:zmq-socket-monitor) that carry a file descriptor or
a reason, never both. A failure that has a reason is told right before its connection is closed. What is closed
without one, and has not said a word, spoke no ZeroMQ, or had nothing to say.

That a frame was too large is not told at all: its connection is closed before the frame is read. So a connection is
held by a second descriptor, which outlives that of libzmq until its end is told: where bytes wait there that nobody
will read, or came just now, it was not the peer that ended it. Of one that has not spoken that means nothing until our
greeting was sent, which only who speaks ZeroMQ gets as a whole.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

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

_LAST_DATA = 8 + 11 * 4
"""Where `struct tcp_info` says how many milliseconds ago data came: tcp(7), linux/tcp.h."""
_BYTES_SENT = 200
"""Where it says how many bytes were sent."""
_GREETING = 64
"""Bytes: https://rfc.zeromq.org/spec/23/."""
_MOST_SILENT = 128
"""So many connections that have not spoken are held by a second descriptor: a flood must not take twice as many."""
_MOMENT = 1.0
"""Seconds; a peer that is cut off for its silence was silent for longer."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A connection."""

    who: str
    file: int | None
    """A second descriptor of it; None where none was to be had."""

    def cut_off(self, *, greeted: bool) -> bool:
        """Tells, of a connection that is closed, whether the peer was in the middle of a frame; lets it go.

        Args:
            greeted: whether it is known that the peer speaks ZeroMQ.
        """
        if self.file is None:
            return False
        with socket.socket(fileno=self.file) as end:
            try:
                if not greeted and _sent(end) < _GREETING:
                    return False
                return bool(end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
            except BlockingIOError:
                # The peer is still there: what of the frame is under way was not here yet, or it was silent for long.
                return _silence(end) < _MOMENT
            except OSError:
                return False


class Handshakes:
    """The connections of a listener.

    Args:
        context: of the listener.
        socket: the listener's; bound after this is made.
        failed: gets the reason of each connection that came to nothing, and who it was where that is known, except
            those of which the gatekeeper knows.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes], failed: Callable[[str, str], None]
    ) -> None:
        self.ended = 0
        """Connections that said something and are closed."""
        self._failed = failed
        self._silent: dict[int, _Held] = {}
        self._heard: dict[int, _Held] = {}
        self._explained = 0
        """Connections that will be closed, and are counted already."""
        self.monitor = Monitor(context, socket, _EVENTS)

    @property
    def open(self) -> int:
        """Connections that are open, with those whose handshake is under way."""
        return len(self._silent) + len(self._heard)

    def heard(self, file: int, who: Callable[[], str]) -> None:
        """A message came over a connection."""
        if file not in self._heard:
            self.read()
            silent = self._silent.pop(file, None)
            second = None if silent is None else silent.file
            self._heard[file] = _Held(who(), _second(file) if second is None else second)

    def close(self) -> None:
        """Lets all of it go."""
        self.monitor.close()
        for held in (*self._heard.values(), *self._silent.values()):
            held.cut_off(greeted=True)
        self._heard.clear()
        self._silent.clear()

    def read(self) -> None:
        """Takes what has been told; never blocks."""
        for event, value in self.monitor.events():
            self._take(event, value)

    def _take(self, event: int, value: int) -> None:
        match event:
            case zmq.EVENT_ACCEPTED:
                second = _second(value) if len(self._silent) < _MOST_SILENT else None
                self._silent[value] = _Held("a peer that has not spoken", second)
            case zmq.EVENT_DISCONNECTED:
                self._closed(value)
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._explained += 1
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._explained += 1
                self._failed(_PROTOCOL_REASONS.get(value, "broken handshake"), "")
            case _:
                self._explained += 1
                self._failed("handshake not finished", "")

    def _closed(self, file: int) -> None:
        if (spoken := self._heard.pop(file, None)) is not None:
            self.ended += 1
            cut_off = spoken.cut_off(greeted=True)
            if self._explained:
                self._explained -= 1
            elif cut_off:
                self._failed("too large", f"a frame of {spoken.who}; its connection is cut")
            return
        silent = self._silent.pop(file, None)
        cut_off = silent is not None and silent.cut_off(greeted=False)
        if self._explained:
            self._explained -= 1
        elif silent is not None and cut_off:
            self._failed("too large", f"the first frame of {silent.who}; its connection is cut")
        else:
            self._failed("closed without a word", "")


def _second(file: int) -> int | None:
    try:
        return os.dup(file)
    except OSError:
        # It is closed already, or no more files may be opened.
        return None


def _sent(end: socket.socket) -> int:
    """Bytes that were sent over a connection."""
    told = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_SENT + 8)
    return struct.unpack_from("=Q", told, _BYTES_SENT)[0] if len(told) >= _BYTES_SENT + 8 else 0


def _silence(end: socket.socket) -> float:
    """Seconds since anything came over a connection."""
    told = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA + 4)
    return struct.unpack_from("=I", told, _LAST_DATA)[0] / 1000.0

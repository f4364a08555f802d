"""Deciding who comes in: libzmq asks once per handshake, and waits for the answer (ZAP, https://rfc.zeromq.org/spec/27).

The questions are answered in the loop of the listener: no other thread, no list that is shared with one. A peer
whose handshake has proved its key, and no other, gets the name of that key on each of its messages.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from distilmq.transport.keys import key_text

_ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_ALLOWED, _DENIED = b"200", b"400"


class Gatekeeper:
    """Answers for one context; made before its listener is bound, or the first peers would not be asked about.

    Args:
        judge: the public key and the address of a peer to whether it may come in.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], judge: Callable[[str, str], bool]) -> None:
        self._judge = judge
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ENDPOINT)

    def answer(self) -> None:
        """Answers what was asked; never blocks."""
        while True:
            try:
                question = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.socket.send_multipart(self._answer_to(question))

    def close(self) -> None:
        """No handshake succeeds any more."""
        self.socket.close()

    def _answer_to(self, question: list[bytes]) -> list[bytes]:
        version, number, _, address, _, mechanism, *credentials = question
        if (version, mechanism, len(credentials)) == (_VERSION, b"CURVE", 1):
            key = key_text(credentials[0])
            if self._judge(key, address.decode(errors="replace")):
                return [_VERSION, number, _ALLOWED, b"", key.encode(), b""]
        return [_VERSION, number, _DENIED, b"this key is not allowed", b"", b""]

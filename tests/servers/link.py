"""A link over TCP that a test can cut: what is sent meanwhile waits, as on a route that is down, and no end is told."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from types import TracebackType

_PIECE = 65536


class Link:
    """Forwards connections to an address, while it is not cut."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._other: dict[socket.socket, socket.socket] = {}
        self._mended_at = 0.0
        self._severed = False
        self._over = False
        self._thread = threading.Thread(target=self._serve, name="link", daemon=True)

    def __enter__(self) -> Link:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join()
        for end in [self._listener, *self._other]:
            end.close()

    def cut(self, seconds: float = float("inf")) -> None:
        """From now on, for so long, nothing passes."""
        self._mended_at = time.monotonic() + seconds

    def mend(self) -> None:
        """Everything passes, what has waited first."""
        self._mended_at = 0.0

    def sever(self) -> None:
        """All connections break, as when a router between them starts again; new ones can be made."""
        self._severed = True

    def _serve(self) -> None:
        while not self._over:
            if self._severed:
                self._severed = False
                self._close(list(self._other))
            passing = time.monotonic() >= self._mended_at
            watched = [self._listener, *self._other] if passing else []
            ready, _, _ = select.select(watched, [], [], 0.02)
            for end in ready:
                if end is self._listener:
                    self._accept()
                elif end in self._other:
                    self._forward(end)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._address)
        except OSError:
            near.close()
            return
        self._other[near], self._other[far] = far, near

    def _forward(self, end: socket.socket) -> None:
        other = self._other[end]
        try:
            piece = end.recv(_PIECE)
            other.sendall(piece)
        except OSError:
            piece = b""
        if not piece:
            self._close([end, other])

    def _close(self, ends: list[socket.socket]) -> None:
        for end in ends:
            self._other.pop(end, None)
            with contextlib.suppress(OSError):
                end.close()

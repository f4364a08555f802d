"""A listener on a socket of this user's own, where whoever comes may say anything."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.transport.ports import Listener, PeerId, Role


class OpenFront:
    """See `ports.Front`."""

    def __init__(self, listener: Listener) -> None:
        self.endpoint = listener.endpoint
        self._listener = listener

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """See `ports.Front.poll`."""
        return self._listener.poll(timeout, files)

    def receive(self) -> tuple[PeerId, Role, list[bytes]] | None:
        """See `ports.Front.receive`."""
        received = self._listener.receive()
        return None if received is None else (received[0], "any", received[1])

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """See `ports.Front.send`."""
        self._listener.send(peer, frames)

    def close(self) -> None:
        """See `ports.Front.close`."""
        self._listener.close()

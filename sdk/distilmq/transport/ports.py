"""What the processes ask of a transport: frames in, frames out, never blocking on a slow peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NewType, Protocol

from distilmq.errors import DistilmqUserError

PeerId = NewType("PeerId", bytes)
"""Names one connection of a listener; a peer that connects again has another one."""

Role = Literal["client", "worker", "any"]
"""What a peer may say, by the key that it has; `any` where no key is asked for: on a socket of this user's own."""


class PeerUnreachableError(Exception):
    """The peer of a send is gone or takes no more at the moment. Only the ledger is believed either way."""


class KeyDeniedError(DistilmqUserError):
    """The other end does not let this connection's key in; nothing comes of the connection any more."""


class MessageTooLargeError(Exception):
    """A message is larger than its receiver takes; it was not sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a message of {size:,} bytes, where at most {limit:,} are taken")
        self.size = size
        self.limit = limit


class Listener(Protocol):
    """The coordinator's end: one owner thread, many peers."""

    endpoint: str

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """Waits up to `timeout` seconds for a message or for one of the file descriptors to be readable.

        Returns:
            The readable file descriptors among `files`; whether messages wait, `receive` tells.
        """
        ...

    def receive(self) -> tuple[PeerId, list[bytes]] | None:
        """The next message, or None; never blocks."""
        ...

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """Hands frames to the transport; never blocks.

        Raises:
            PeerUnreachableError: the peer is not connected, or its queue is full.
            MessageTooLargeError: the message is larger than the limit that was set.
        """
        ...

    def close(self) -> None:
        """Sends what is queued for at most the linger time, then closes."""
        ...


class Sender(Protocol):
    """What `Listener` and `Front` have in common: a way out."""

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """As `Listener.send`."""
        ...


class Front(Protocol):
    """The broker's end: as `Listener`, and knows what each peer may say."""

    endpoint: str

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """As `Listener.poll`."""
        ...

    def receive(self) -> tuple[PeerId, Role, list[bytes]] | None:
        """The next message, or None; never blocks. What comes without a right to say anything does not come here."""
        ...

    def send(self, peer: PeerId, frames: Sequence[bytes]) -> None:
        """As `Listener.send`."""
        ...

    def close(self) -> None:
        """As `Listener.close`."""
        ...


class Connection(Protocol):
    """A worker's or client's end; reconnects by itself."""

    @property
    def trouble(self) -> str:
        """Why it does not come through, where that is known; empty otherwise."""
        ...

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """As `Listener.poll`."""
        ...

    def receive(self) -> list[bytes] | None:
        """The next message, or None; never blocks."""
        ...

    def send(self, frames: Sequence[bytes]) -> None:
        """Queues frames for the coordinator, connected or not.

        Raises:
            KeyDeniedError: it was refused for its key.
            MessageTooLargeError: the message is larger than the limit that was set.
        """
        ...

    def close(self) -> None:
        """Sends what is queued for at most the linger time, then closes."""
        ...

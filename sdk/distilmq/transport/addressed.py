"""One frame in front: which run of a broker a message is for, or comes from. Nothing is the broker itself.

It is a frame and no field of the header, so that the broker hands messages on without reading them. Behind the run, a
worker adds the token that came with its slot: who has none of a run is not heard by it.
"""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.transport.ports import Connection

BROKER = ""
"""The address of the broker itself."""


_TOKEN = ":"
"""In front of a token; the id of a run has none."""


def with_address(run: str, frames: Sequence[bytes], *, token: str = "") -> list[bytes]:
    """The frames of a message to, or from, a run."""
    return [(f"{run}{_TOKEN}{token}" if token else run).encode(), *frames]


def split_address(frames: Sequence[bytes]) -> tuple[str, list[bytes]]:
    """The run that a message names, and the frames behind; one that names none that can be goes to no run at all."""
    run, _, message = split_token(frames)
    return run, message


def split_token(frames: Sequence[bytes]) -> tuple[str, str, list[bytes]]:
    """As `split_address`, with the token that the message shows.

    A run's id is text without control characters, so that what is no text is the address of nobody.
    """
    if not frames:
        return BROKER, "", []
    run, _, token = frames[0].decode(errors="backslashreplace").partition(_TOKEN)
    return run, token, list(frames[1:])


class Addressed:
    """A connection to a broker as a connection to one of its runs: see `ports.Connection`.

    Args:
        connection: to the broker; nobody else receives from it.
        run: its id; the broker itself when it is empty. What other runs say is passed over.
        token: of a worker, which came with its slot of the run.
    """

    def __init__(self, connection: Connection, run: str = BROKER, *, token: str = "") -> None:
        self.run = run
        self._connection = connection
        self._token = token
        self._address = run.encode()

    @property
    def trouble(self) -> str:
        """See `ports.Connection.trouble`."""
        return self._connection.trouble

    def poll(self, timeout: float, files: Sequence[int] = ()) -> set[int]:
        """See `ports.Connection.poll`."""
        return self._connection.poll(timeout, files)

    def receive(self) -> list[bytes] | None:
        """See `ports.Connection.receive`."""
        while (frames := self._connection.receive()) is not None:
            if frames and frames[0] == self._address:
                return frames[1:]
        return None

    def send(self, frames: Sequence[bytes]) -> None:
        """See `ports.Connection.send`."""
        self._connection.send(with_address(self.run, frames, token=self._token))

    def close(self) -> None:
        """See `ports.Connection.close`."""
        self._connection.close()

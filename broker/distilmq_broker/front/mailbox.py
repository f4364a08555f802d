"""Messages for runs whose coordinator is not up yet: a bounded number, the oldest make room."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from distilmq.transport.ports import PeerId, Role

Mail = tuple[PeerId, Role, list[bytes]]

MOST_MESSAGES = 10_000
MOST_BYTES = 64 * 1024 * 1024
"""For one run. What is dropped is said again: workers keep results until they are acknowledged."""


class Mailbox:
    """One box for each run."""

    def __init__(self, *, messages: int = MOST_MESSAGES, size: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._messages = messages
        self._size = size
        self._boxes: dict[str, deque[Mail]] = {}
        self._sizes: dict[str, int] = {}

    def put(self, run: str, peer: PeerId, role: Role, frames: Sequence[bytes]) -> None:
        """Keeps a message."""
        box = self._boxes.setdefault(run, deque())
        box.append((peer, role, list(frames)))
        self._sizes[run] = self._sizes.get(run, 0) + _size(frames)
        while len(box) > self._messages or self._sizes[run] > self._size:
            _, _, oldest = box.popleft()
            self._sizes[run] -= _size(oldest)
            self.dropped += 1

    def take(self, run: str) -> list[Mail]:
        """Empties a box: all that was kept for a run, the oldest first."""
        self._sizes.pop(run, None)
        return list(self._boxes.pop(run, ()))


def _size(frames: Sequence[bytes]) -> int:
    return sum(map(len, frames))

"""The way from the thread of the user's code to the thread that owns the socket."""

from __future__ import annotations

import os
from collections import deque

from distilmq_workers.events import Event


class Outbox:
    """A queue with a file descriptor that is readable while something waits."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Readable when an event waits."""
        return self._descriptor

    def put(self, event: Event) -> None:
        """Adds an event; from any thread."""
        self._events.append(event)
        os.eventfd_write(self._descriptor, 1)

    def take(self) -> list[Event]:
        """All events that wait; from the socket's thread."""
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            return []
        taken: list[Event] = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._descriptor)

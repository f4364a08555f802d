"""The way from the threads of the user's code to the thread that owns the socket."""

from __future__ import annotations

import contextlib
import os
from collections import deque

from distilmq_workers.events import Event


class Outbox:
    """A queue with a file descriptor that is readable while something may wait."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._rung = False

    def fileno(self) -> int:
        """Readable when an event waits."""
        return self._reading

    def put(self, event: Event) -> None:
        """Adds an event; from any thread."""
        self._events.append(event)
        if not self._rung:
            self._rung = True
            # A full pipe is readable, and one that is closed has no reader any more.
            with contextlib.suppress(OSError):
                os.write(self._writing, b"!")

    def take(self) -> list[Event]:
        """All events that wait; from the socket's thread."""
        if not self._events and not self._rung:
            return []
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 4096)
        # Before the events are taken: one that is put from here on rings again.
        self._rung = False
        taken: list[Event] = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def close(self) -> None:
        """Gives the descriptors back."""
        os.close(self._reading)
        os.close(self._writing)

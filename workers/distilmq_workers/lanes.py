"""The threads that run the user's code: the main one, as many libraries demand, or several side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class Lanes:
    """Jobs for the main thread, and for the lanes beside it once there are more than one."""

    def __init__(self) -> None:
        self._main: SimpleQueue[Job | None] = SimpleQueue()
        self._beside: SimpleQueue[Job] = SimpleQueue()
        self._count = 1

    def widen(self, count: int) -> None:
        """Runs up to so many batches at once, each in a thread of its own."""
        for number in range(count if self._count == 1 < count else 0):
            threading.Thread(target=self._serve_beside, name=f"distilmq-lane-{number}", daemon=True).start()
        self._count = max(self._count, count)

    def call(self, job: Job) -> None:
        """Has the main thread do something, after what it was given before."""
        self._main.put(job)

    def run_batch(self, job: Job) -> None:
        """Has a lane do something."""
        if self._count == 1:
            self._main.put(job)
        else:
            self._beside.put(job)

    def quit(self) -> None:
        """Has `serve` return, after what the main thread was given before."""
        self._main.put(None)

    def serve(self) -> None:
        """The main thread's life."""
        while (job := self._main.get()) is not None:
            job()

    def _serve_beside(self) -> None:
        while True:
            self._beside.get()()

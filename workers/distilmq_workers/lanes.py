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
        self._most = 1
        self._started = 0
        self._at_work = 0
        self._counting = threading.Lock()

    def widen(self, count: int) -> None:
        """Runs up to so many batches at once, each in a thread of its own; one is started when it is needed."""
        self._most = max(self._most, count)

    def call(self, job: Job) -> None:
        """Has the main thread do something, after what it was given before."""
        self._main.put(job)

    def run_batch(self, job: Job) -> None:
        """Has a lane do something."""
        if self._most == 1:
            self._main.put(job)
            return
        with self._counting:
            self._at_work += 1
            if self._started < min(self._at_work, self._most):
                self._started += 1
                name = f"distilmq-lane-{self._started}"
                threading.Thread(target=self._serve_beside, name=name, daemon=True).start()
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
            job = self._beside.get()
            try:
                job()
            finally:
                with self._counting:
                    self._at_work -= 1

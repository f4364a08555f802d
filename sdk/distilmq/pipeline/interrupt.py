"""Ctrl+C during a run: counted while the run is followed, raised as usual everywhere else.

The handler only counts and wakes the loop that follows the run through a pipe: logging or sending inside a
signal handler can enter code that was interrupted half way.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None


class Interrupts:
    """The SIGINTs since the run began.

    A context manager: the handler is installed in the main thread only, where Python delivers signals, and the
    one that was there comes back at the end. In another thread nothing is installed and nothing is counted.
    """

    def __init__(self) -> None:
        self.count = 0
        self._held = 0
        self._installed = False
        self._previous: Handler = None
        self._reader = -1
        self._writer = -1

    @property
    def files(self) -> list[int]:
        """What to poll beside the socket: readable when a signal came."""
        return [self._reader] if self._installed else []

    def __enter__(self) -> Interrupts:
        previous = signal.getsignal(signal.SIGINT)
        # A script whose SIGINT is ignored (nohup, a shell's background job) goes on ignoring it; a handler
        # that was not installed from Python cannot be put back.
        if threading.current_thread() is threading.main_thread() and previous not in (signal.SIG_IGN, None):
            self._reader, self._writer = os.pipe()
            os.set_blocking(self._reader, False)
            os.set_blocking(self._writer, False)
            self._previous = previous
            signal.signal(signal.SIGINT, self._on_signal)
            self._installed = True
        return self

    def __exit__(self, *exc: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False
            os.close(self._reader)
            os.close(self._writer)

    @contextmanager
    def held(self) -> Generator[None]:
        """Inside, a SIGINT is counted and wakes the poll; outside, it raises `KeyboardInterrupt`."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def clear(self) -> None:
        """Empties the pipe after a wake-up; the count stays."""
        try:
            while self._installed and os.read(self._reader, 64):
                pass
        except BlockingIOError:
            return

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1
        if not self._held:
            raise KeyboardInterrupt
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:
            return  # The pipe is full: the loop will wake up anyway.

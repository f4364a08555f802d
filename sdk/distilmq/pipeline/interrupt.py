"""Ctrl+C during a run: counted while the run is followed, raised as usual everywhere else.

Python calls a handler once for all signals that came since it last looked, and while another thread has the
interpreter that can be long. So the signals are counted in a pipe, where C code writes each one's number as it comes.
The handler does next to nothing: logging or sending in it can enter code that was interrupted half way.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None

FORCED_WITHIN = 0.7
"""Seconds that everything has to end by itself after the second SIGINT. Two are promised: what is left is for the
interpreter to end, on a busy machine too."""
_LOOK_EVERY = 0.02


class Interrupts:
    """The SIGINTs since the run began.

    A context manager: the handler is installed in the main thread only, where Python delivers signals, and the
    one that was there comes back at the end. In another thread nothing is installed and nothing is counted.
    """

    def __init__(self) -> None:
        self.forced_by: float | None = None
        """When all must have ended, once a second SIGINT has been counted."""
        self._count = 0
        self._held = 0
        self._installed = False
        self._previous: Handler = None
        self._previous_wakeup = -1
        self._reader = -1
        self._writer = -1

    @property
    def count(self) -> int:
        """How many have come; asking empties `files`."""
        self._listen()
        return self._count

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
            self._previous_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            self._previous = previous
            signal.signal(signal.SIGINT, self._on_signal)
            self._installed = True
        return self

    def __exit__(self, *exc: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            signal.set_wakeup_fd(self._previous_wakeup)
            self._listen()
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

    @contextmanager
    def raised(self) -> Generator[None]:
        """Inside, within `held`, a SIGINT raises as it does outside, and one that has come already does so at once."""
        held = self._held
        try:
            self._held = 0
            if self.count:
                raise KeyboardInterrupt
            yield
        finally:
            self._held = held

    @property
    def forced(self) -> bool:
        """Whether a second SIGINT has been counted, and the time that it left is over; `files` stay as they are."""
        return self.forced_by is not None and time.monotonic() >= self.forced_by

    def wait(self, ended: Callable[[float], bool], most: float) -> bool:
        """Waits until something has ended: for at most so many seconds, and not when the end is forced.

        Args:
            ended: waits for so many seconds, and says whether it has.
            most: seconds.
        """
        deadline = time.monotonic() + most
        while not ended(_LOOK_EVERY):
            self._listen()
            if self.forced or time.monotonic() >= deadline:
                return False
        return True

    def _listen(self) -> None:
        if not self._installed:
            return
        with suppress(BlockingIOError):
            while numbers := os.read(self._reader, 64):
                self._count += numbers.count(signal.SIGINT)
                self._pass_on(bytes(number for number in numbers if number != signal.SIGINT))
        if self._count > 1 and self.forced_by is None:
            self.forced_by = time.monotonic() + FORCED_WITHIN

    def _pass_on(self, numbers: bytes) -> None:
        """Other signals are for whoever listened before, such as the event loop of a notebook's kernel."""
        if numbers and self._previous_wakeup >= 0:
            with suppress(OSError):
                os.write(self._previous_wakeup, numbers)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if not self._held:
            raise KeyboardInterrupt

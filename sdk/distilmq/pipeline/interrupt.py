"""Ctrl+C, SIGTERM and SIGHUP during a run: counted while the run is followed, raised everywhere else.

Python calls a handler once for all signals that came since it last looked, and while another thread has the
interpreter that can be long. So the signals are counted in a pipe, where C code writes each one's number as it comes.
The handler does next to nothing: logging or sending in it can enter code that was interrupted half way.
"""

from __future__ import annotations

import os
import signal
import stat
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
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a process that says nothing about it; here it stops the run first, as Ctrl+C does."""
_ONE_ENDING = 1.0
"""Seconds within which several of these are one: a shell and the kernel both tell a script that its terminal is gone,
and `timeout` signals the script and then its group."""


class Interrupts:
    """The signals since the run began that are to end it.

    A context manager: handlers are installed in the main thread only, where Python delivers signals, and those
    that were there come back at the end. In another thread nothing is installed and nothing is counted. SIGTERM and
    SIGHUP are left alone where somebody has said what they are to do.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.forced_by: float | None = None
        """When all must have ended, once a second signal has been counted."""
        self._count = 0
        self._first: int | None = None
        self._last_ending: float | None = None
        self._held = 0
        self._installed = False
        self._previous: dict[int, Handler] = {}
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
        if threading.current_thread() is threading.main_thread() and (previous := _to_take()):
            self._reader, self._writer = os.pipe()
            os.set_blocking(self._reader, False)
            os.set_blocking(self._writer, False)
            self._previous_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            self._previous = previous
            self._installed = True
            for number in previous:
                signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._installed:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._previous_wakeup)
            self._listen()
            self._installed = False
            os.close(self._reader)
            os.close(self._writer)

    @contextmanager
    def held(self) -> Generator[None]:
        """Inside, a signal is counted and wakes the poll; outside, it raises what `ending` gives."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    @contextmanager
    def raised(self) -> Generator[None]:
        """Inside, within `held`, a signal raises as it does outside, and one that has come already does so at once."""
        held = self._held
        try:
            self._held = 0
            if self.count:
                raise self.ending()
            yield
        finally:
            self._held = held

    def ending(self) -> BaseException:
        """What to raise when the run was stopped: of SIGTERM and SIGHUP the end of the script, with their status."""
        return _ending(self._first)

    @property
    def forced(self) -> bool:
        """Whether a second signal has been counted, and the time that it left is over; `files` stay as they are."""
        return self.forced_by is not None and self._clock() >= self.forced_by

    def wait(self, ended: Callable[[float], bool], most: float) -> bool:
        """Waits until something has ended: for at most so many seconds, and not when the end is forced.

        Args:
            ended: waits for so many seconds, and says whether it has.
            most: seconds.
        """
        deadline = self._clock() + most
        while not ended(_LOOK_EVERY):
            self._listen()
            if self.forced or self._clock() >= deadline:
                return False
        return True

    def _listen(self) -> None:
        if not self._installed:
            return
        with suppress(BlockingIOError):
            while numbers := os.read(self._reader, 64):
                self._take(numbers)
                self._pass_on(bytes(number for number in numbers if number not in self._previous))
        if self._count > 1 and self.forced_by is None:
            self.forced_by = self._clock() + FORCED_WITHIN

    def _take(self, numbers: bytes) -> None:
        ours = [number for number in numbers if number in self._previous]
        if not ours:
            return
        self._first = ours[0] if self._first is None else self._first
        self._count += ours.count(signal.SIGINT)
        if any(number in _ENDINGS for number in ours):
            now = self._clock()
            if self._last_ending is None or now >= self._last_ending + _ONE_ENDING:
                self._count += 1
                self._last_ending = now

    def _pass_on(self, numbers: bytes) -> None:
        """Other signals are for whoever listened before, such as the event loop of a notebook's kernel."""
        if numbers and self._previous_wakeup >= 0:
            with suppress(OSError):
                os.write(self._previous_wakeup, numbers)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGHUP:
            _leave_terminal()
        if not self._held:
            raise _ending(signum)


def _to_take() -> dict[int, Handler]:
    """The signals to listen for, and what they do now.

    A script whose SIGINT is ignored (nohup, a shell's background job) goes on ignoring it; a handler that was not
    installed from Python cannot be put back.
    """
    handlers: dict[int, Handler] = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDINGS)}
    return {
        number: handler
        for number, handler in handlers.items()
        if (handler == signal.SIG_DFL if number in _ENDINGS else handler not in (signal.SIG_IGN, None))
    }


def _leave_terminal() -> None:
    """Nothing can be written to a terminal that is gone, and what waits for it would spoil the exit code."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def _ending(number: int | None) -> BaseException:
    """As a shell reports it: 128 and the number."""
    return SystemExit(128 + number) if number is not None and number in _ENDINGS else KeyboardInterrupt()

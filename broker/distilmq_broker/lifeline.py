"""What ends a run from outside: the client's end of our standard input, and signals.

Handlers do nothing: Python writes the signal's number to a pipe, and the loop reads it there.
"""

from __future__ import annotations

import os
import select
import signal
from types import FrameType
from typing import Literal, Protocol

Call = Literal["client_gone", "terminate", "child_ended"]


class Calls(Protocol):
    """Calls from outside."""

    def filenos(self) -> list[int]:
        """What becomes readable when there is a call."""
        ...

    def calls(self, readable: set[int]) -> list[Call]:
        """What was asked since the last time; never blocks."""
        ...


class Lifeline:
    """Watches standard input, SIGTERM and SIGCHLD; has SIGINT ignored, here and in children.

    Args:
        stdin: descriptor of the standard input; None not to watch it.
        interrupt: whether SIGINT is no business of the client's but means what SIGTERM means.
    """

    def __init__(self, stdin: int | None = 0, *, interrupt: bool = False) -> None:
        self._stdin = stdin
        self._signals, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGINT, _nothing if interrupt else signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _nothing)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def filenos(self) -> list[int]:
        """What becomes readable when there is a call."""
        return [self._signals] if self._stdin is None else [self._signals, self._stdin]

    def calls(self, readable: set[int]) -> list[Call]:
        """What was asked since the last time; never blocks."""
        found: list[Call] = []
        if self._signals in readable:
            found.extend(self._read_signals())
        if self._stdin is not None and self._stdin in readable and not os.read(self._stdin, 4096):
            self._stdin = None
            found.append("client_gone")
        return found

    def cut_within(self, seconds: float) -> bool:
        """Waits, for at most so long, for the client to be gone or for a signal to end; says whether it came."""
        readable, _, _ = select.select(self.filenos(), [], [], seconds)
        return any(call != "child_ended" for call in self.calls(set(readable)))

    def close(self) -> None:
        """Gives the signals back."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._signals)
        os.close(self._wakeup)

    def _read_signals(self) -> list[Call]:
        numbers = os.read(self._signals, 4096)
        found: list[Call] = ["terminate" for number in numbers if number in (signal.SIGTERM, signal.SIGINT)]
        if signal.SIGCHLD in numbers:
            found.append("child_ended")
        return found


def _nothing(number: int, frame: FrameType | None) -> None:
    """Being called is enough: the number is in the pipe."""

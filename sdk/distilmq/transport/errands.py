"""Calls that may take long, for a thread that must not wait: a few threads make them, and it is told when they ended.

A slow server holds up what waits for it, and nothing else. No more calls are begun than there are threads, and what a
call needs is only made when it begins: so no more than that is in memory, however many wait.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

THREADS = 8
"""Calls at a time. Each may have a part of rows in hand."""

Call = Callable[[], Any]
"""Made in a thread of its own."""


class Errands:
    """What is asked for under one name ends in the order in which it was asked for.

    All methods are for the one thread that asks, and so is everything it gives but the calls themselves.

    Args:
        threads: how many calls may be going on at a time; each thread is started when it is first needed.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._most = threads
        self._started = 0
        self._out = 0
        """Those that are begun and have not been told to have ended."""
        self._waiting: deque[_Errand] = deque()
        self._order: dict[str, deque[_Errand]] = {}
        self._begun: SimpleQueue[_Errand | None] = SimpleQueue()
        self._made: deque[_Errand] = deque()
        self._closed = False
        self._bell = threading.Lock()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def fileno(self) -> int:
        """Readable when some may have ended."""
        return self._reading

    def ask(self, name: str, begin: Callable[[], Call | None], end: Callable[[Any], None]) -> None:
        """Has a call made.

        Args:
            name: what it is asked for under.
            begin: gives the call, once it is its turn; None when there is nothing to call any more.
            end: is given what the call gave.
        """
        errand = _Errand(name, begin, end)
        self._waiting.append(errand)
        self._order.setdefault(name, deque()).append(errand)
        self._begin()

    def settle(self) -> None:
        """Ends what was made, and begins what waits.

        Raises:
            BaseException: what a call raised.
        """
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 4096)
        while self._made:
            errand = self._made.popleft()
            errand.made = True
            self._end(errand.name)
        self._begin()

    def close(self) -> None:
        """Nothing is told any more; a call that is going on ends by itself, or with the process."""
        self._waiting.clear()
        self._order.clear()
        self._made.clear()
        with self._bell:
            self._closed = True
            os.close(self._reading)
            os.close(self._writing)
        for _ in range(self._started):
            self._begun.put(None)

    def _begin(self) -> None:
        while self._waiting and self._out < self._most:
            errand = self._waiting.popleft()
            call = errand.begin()
            if call is None:
                self._drop(errand)
                continue
            errand.call = call
            self._out += 1
            if self._started < min(self._out, self._most):
                self._started += 1
                threading.Thread(target=self._serve, name="distilmq-errands", daemon=True).start()
            self._begun.put(errand)

    def _end(self, name: str) -> None:
        """Ends the foremost of a name, as far as they are made."""
        order = self._order.get(name)
        while order and order[0].made:
            errand = order.popleft()
            self._out -= 1
            if errand.error is not None:
                raise errand.error
            errand.end(errand.given)
        if order is not None and not order:
            self._order.pop(name, None)

    def _drop(self, errand: _Errand) -> None:
        order = self._order[errand.name]
        order.remove(errand)
        self._end(errand.name)

    def _serve(self) -> None:
        while True:
            errand = self._begun.get()
            if errand is None:
                return
            errand.make()
            self._made.append(errand)
            self._ring()

    def _ring(self) -> None:
        # A full pipe is readable; one that is closed may be another one by now.
        with self._bell, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._writing, b"!")


class _Errand:
    """One call."""

    def __init__(self, name: str, begin: Callable[[], Call | None], end: Callable[[Any], None]) -> None:
        self.name = name
        self.begin = begin
        self.end = end
        self.call: Call | None = None
        self.given: Any = None
        self.error: BaseException | None = None
        self.made = False

    def make(self) -> None:
        """Makes the call."""
        try:
            self.given = None if self.call is None else self.call()
        except BaseException as error:  # noqa: BLE001  # raised again where it is asked for
            self.error = error
        # What it was made of may be large.
        self.call = None

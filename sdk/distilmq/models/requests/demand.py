"""How many more requests the models of this process could take, for whoever hands out batches.

A worker asks for another batch while less is waiting to be sent than may be sent at once. Rows that were handed
over and have not asked yet are counted as if they had: each will ask at least once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar

Listener = Callable[[int, int], None]
"""Told the requests that may be out at once, and those that wait to be sent."""


class Expected:
    """Rows of one batch that have not asked a model yet."""

    def __init__(self, demand: Demand, rows: int) -> None:
        self._demand = demand
        self._rows = rows

    def met(self) -> None:
        """Their requests are known from here on, or none will come."""
        rows, self._rows = self._rows, 0
        self._demand.wait_for(-rows)


class Demand:
    """Sums over all models of the process; any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limit = 0
        self._unsent = 0
        self._listener: Listener | None = None

    @property
    def now(self) -> tuple[int, int]:
        """Requests that may be out at once, and those that wait to be sent."""
        with self._lock:
            return self._limit, self._unsent

    def listen(self, listener: Listener | None) -> None:
        """From now on tells of each request that goes out while there is room for more."""
        self._listener = listener

    def expect(self, rows: int) -> Expected:
        """A batch is handed over."""
        self.wait_for(rows)
        return Expected(self, rows)

    def wait_for(self, requests: int) -> None:
        """So many more requests wait to be sent, or fewer."""
        with self._lock:
            self._unsent += requests

    def tell(self) -> None:
        """Tells whether there is room for more, where that was not asked for by a request that went out."""
        limit, unsent = self.now
        if self._listener is not None and unsent < limit:
            self._listener(limit, unsent)

    def widen(self, places: int) -> None:
        """So many more may be out at once, or fewer."""
        with self._lock:
            self._limit += places

    def sent(self) -> None:
        """One request that waited goes out."""
        with self._lock:
            self._unsent -= 1
            limit, unsent = self._limit, self._unsent
        if self._listener is not None and unsent < limit:
            self._listener(limit, unsent)


demand = Demand()
"""Of this process."""

expected: ContextVar[Expected | None] = ContextVar("expected", default=None)
"""Of the batch that this thread works on."""

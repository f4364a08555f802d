"""Requests on their way into the next batch jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from distilmq.errors import TooLongError
from distilmq.models.batches.jobs import lots
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.batches.ticket import Ticket

LINE_ROOM = 200
"""Bytes of a request beside its body."""


class Collection:
    """Those that wait; a job is made of them when none comes any more, or when they are as many as it takes.

    Args:
        provider: runs the jobs.
        most: requests in a job.
        quiet: seconds without a new request after which a job is made.
        model: its name.
        begin: takes the requests of one job.
    """

    def __init__(
        self,
        provider: BatchProvider,
        *,
        most: int,
        quiet: float,
        model: str,
        begin: Callable[[list[Ticket]], None],
    ) -> None:
        self.most = most
        """Requests in a job, as far as the provider's queue has room."""
        self._provider = provider
        self._quiet = quiet
        self._model = model
        self._begin = begin
        self._collected: list[Ticket] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, ticket: Ticket, *, after: float = 0.0) -> None:
        """A request is to go into a job, not before so many seconds."""
        ticket.size = len(json.dumps(ticket.body)) + LINE_ROOM
        if ticket.size > self._provider.most_bytes:
            text = f"'{self._model}': a request of {ticket.size:,} bytes is larger than a job of {self._provider.name}"
            ticket.settle(TooLongError(text))
            return
        self._collected.append(ticket)
        full = len(self._collected) >= self.most
        self._flush_in(0.0 if full else max(after, self._quiet))

    def _flush_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _flush(self) -> None:
        """Makes jobs of what was collected."""
        self._timer = None
        by_url: dict[str, list[Ticket]] = {}
        for ticket in self._collected:
            if ticket.waits:
                by_url.setdefault(ticket.url, []).append(ticket)
        self._collected = []
        for tickets in by_url.values():
            sizes = [ticket.size for ticket in tickets]
            for lot in lots(sizes, most_requests=self.most, most_bytes=self._provider.most_bytes):
                self._begin([tickets[place] for place in lot])

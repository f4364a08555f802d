"""Deleting what jobs leave at their provider: files of requests and answers, once all that was in them is recorded.

Until then they are the only place where an answer that was paid for is sure to be. So nothing is deleted of a job that
other processes read as well, nor where nobody says what is recorded; what cannot be deleted stays, and is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from distilmq.errors import RequestError, StepFatalError
from distilmq.models.batches.book import JobBook
from distilmq.models.batches.jobs import Look

_LEAVES_WITHIN = 5.0
"""Seconds that a worker which ends waits for what is being deleted."""


class Deleter(Protocol):
    """What is needed of a `BatchProvider`."""

    name: str

    async def tidy(self, look: Look) -> None:
        """See `BatchProvider.tidy`."""
        ...


class Tidying:
    """Of one model's jobs. It belongs to the event loop on which it is told of them.

    Args:
        provider: runs the jobs.
        log: told what could not be deleted.
    """

    def __init__(self, provider: Deleter, log: logging.Logger) -> None:
        self._provider = provider
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self._recorded: Counter[str] = Counter()
        """Requests of each job whose batches are recorded."""

    def when_recorded(self, id: str, size: int, look: Look, requests: Mapping[JobBook, int]) -> None:
        """Deletes what a job has left, once the batches with its requests are recorded: these and those told later.

        Args:
            id: the job's.
            size: requests in it.
            look: at the job when it was over.
            requests: how many of them each batch has.
        """
        loop = asyncio.get_running_loop()

        def recorded(book: JobBook) -> None:
            self._recorded[id] += requests[book]
            if self._recorded[id] == size:
                task = loop.create_task(self._tidy(id, look))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        def told(book: JobBook) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(recorded, book)

        for book in requests:
            book.when_recorded(lambda book=book: told(book))

    async def finish(self) -> None:
        """Waits for what is being deleted, if not for long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LEAVES_WITHIN)

    async def _tidy(self, id: str, look: Look) -> None:
        try:
            await self._provider.tidy(look)
        except (RequestError, StepFatalError) as error:
            self._log.info("The files of batch job %s stay at %s: %s", id, self._provider.name, error)

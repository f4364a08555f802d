"""Deleting what jobs leave at their provider: files of requests and answers, once all that was in them is recorded.

Until then they are the only place where an answer that was paid for is sure to be. So nothing is deleted of a job that
other processes read as well, nor where nobody says what is recorded; what cannot be deleted stays, and is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress

from distilmq.errors import RequestError, StepFatalError
from distilmq.models.batches.book import JobBook
from distilmq.models.batches.jobs import Look
from distilmq.models.batches.provider import BatchProvider

_LEAVES_WITHIN = 5.0
"""Seconds that a worker which ends waits for what is being deleted."""


class Tidying:
    """Of one model's jobs. It belongs to the event loop on which it is told of them.

    Args:
        provider: runs the jobs.
        log: told what could not be deleted.
    """

    def __init__(self, provider: BatchProvider, log: logging.Logger) -> None:
        self._provider = provider
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def when_recorded(self, id: str, look: Look, books: Collection[JobBook]) -> None:
        """Deletes what a job has left, once the batches with its requests are recorded."""
        loop = asyncio.get_running_loop()
        open_ = set(books)

        def recorded(book: JobBook) -> None:
            open_.discard(book)
            if not open_:
                task = loop.create_task(self._tidy(id, look))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        def told(book: JobBook) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(recorded, book)

        for book in books:
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

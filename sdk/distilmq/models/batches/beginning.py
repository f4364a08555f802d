"""How a batch job begins: its requests are recorded as planned under its name, then the provider is given it.

Whoever dies between the two leaves enough for the next one to find the job, or to find that there is none.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from distilmq.errors import DrainedError, RateLimitedError, TransientError
from distilmq.models.batches.book import JobBook, Planned
from distilmq.models.batches.jobs import Line, Seat, custom_id
from distilmq.models.batches.patience import Patience
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.batches.ticket import Ticket

PLAN_AGAIN = 5.0
"""Seconds after which a plan is said again: the message may be lost."""


class Beginning:
    """Of one model's jobs.

    Args:
        provider: runs them.
        patience: with it.
        model: its name.
        known: gives what the provider calls jobs that were begun before.
    """

    def __init__(
        self, provider: BatchProvider, patience: Patience, *, model: str, known: Callable[[], Collection[str]]
    ) -> None:
        self._provider = provider
        self._patience = patience
        self._model = model
        self._known = known

    async def plan(self, tickets: list[Ticket]) -> str | None:
        """Records which requests go into the next job; its name, or None when none of them is wanted any more.

        Args:
            tickets: the requests; those that are not wanted are taken out.
        """
        while tickets:
            job = uuid.uuid4().hex
            now = time.time()
            for number, ticket in enumerate(tickets):
                tries = ticket.seat.tries + 1
                ticket.seat = Seat(ticket.seat.occurrence, job, "", number, tries, len(tickets), now)
            books: dict[JobBook, list[Ticket]] = {}
            for ticket in tickets:
                books.setdefault(ticket.book, []).append(ticket)
            told = await asyncio.gather(*(self._kept(job, len(tickets), book, own) for book, own in books.items()))
            unwanted = {book for book, wanted in zip(books, told, strict=True) if not wanted}
            wanted = [ticket for ticket in tickets if ticket.waits and ticket.book not in unwanted]
            if len(wanted) == len(tickets):
                return job
            for ticket in tickets:
                ticket.unseat(tried=False)
                if ticket.book in unwanted:
                    ticket.settle(drained(self._model))
            tickets[:] = wanted  # the job is exactly what is recorded of it, or another one
        return None

    async def start(self, job: str, tickets: Sequence[Ticket]) -> str:
        """Gives the provider a job; what it calls it.

        Raises:
            RequestError: the provider does not take it.
            StepFatalError: the provider takes nothing.
            DrainedError: the worker drains, and it was not begun.
        """
        lines = [Line(custom_id(job, ticket.seat.number), ticket.url, ticket.body) for ticket in tickets]
        planned = time.time()
        failures = 0
        while True:
            try:
                return await self._provider.start(job, lines)
            except (RateLimitedError, TransientError) as error:
                await self._patience.wait(error, failures)
                failures += 1
            if all(ticket.draining() for ticket in tickets):
                raise drained(self._model)
            # It may have been begun all the same.
            found = await self._patience.find(job, planned=planned, size=len(lines), known=self._known)
            if found is not None:
                return found

    async def _kept(self, job: str, size: int, book: JobBook, tickets: Sequence[Ticket]) -> bool:
        """Says what is planned until it is durable; tells whether it is still wanted."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()

        def tell(wanted: bool) -> None:
            if not answer.done():
                answer.set_result(wanted)

        requests = [
            Planned(ticket.row, ticket.key, ticket.seat.occurrence, ticket.seat.number, ticket.seat.tries)
            for ticket in tickets
        ]

        def told(wanted: bool) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(tell, wanted)

        while not answer.done():
            book.plan(job, size, requests, told)
            await asyncio.wait([answer], timeout=PLAN_AGAIN)
            if all(ticket.draining() for ticket in tickets):
                return False
        return answer.result()


def drained(model: str) -> DrainedError:
    """What requests get that are not waited for."""
    return DrainedError(f"the worker drains: batch jobs of '{model}' are not waited for")

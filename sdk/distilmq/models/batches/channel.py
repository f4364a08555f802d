"""The way to a model through its provider's batch jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from distilmq.errors import RateLimitedError, RequestError, TransientError
from distilmq.models.batches.book import LooseJobs, current_jobs
from distilmq.models.batches.desk import JobDesk
from distilmq.models.batches.ticket import Ticket, current_ticket
from distilmq.models.requests.demand import demand
from distilmq.models.requests.event_loop import EventLoopThread
from distilmq.models.requests.generations import Output
from distilmq.models.requests.retries import note_attempts
from distilmq.models.requests.sending import Draining, Request, Sent


class JobChannel:
    """See `sending.Way`. Requests wait for nothing but their jobs.

    Args:
        loop: on which the desk works.
        desk: makes jobs.
        most: requests that are taken in at once: rows are asked for until there are as many.
        begun: told of jobs that were begun where no worker runs the step.
    """

    def __init__(self, loop: EventLoopThread, desk: JobDesk, *, most: int, begun: Callable[[str], None]) -> None:
        self.loop = loop
        self._desk = desk
        self._most = most
        self._loose = LooseJobs(begun)
        demand.widen(most)

    def announce(self, requests: int) -> None:
        """So many requests are coming."""
        demand.wait_for(requests)
        demand.tell()  # none of them goes out by itself, which would tell

    def submit(self, request: Request, draining: Draining) -> Sent:
        """Has a request asked; it counts as waiting until it has its answer."""
        book = current_jobs.get() or self._loose
        seat = book.seat(request.row, request.key)
        ticket = Ticket(request.row, request.key, seat, book, draining, self._desk.deliver)
        return Sent(self.loop.submit(self._asked(request.call, ticket)), seat.occurrence)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Ends it, after something that is done on its loop."""
        try:
            self.loop.run(self._desk.finish())
            self.loop.run(last())
        finally:
            demand.widen(-self._most)
            self.loop.close()

    async def _asked(self, call: Callable[[], Awaitable[Output]], ticket: Ticket) -> Output:
        token = current_ticket.set(ticket)
        try:
            while True:
                ticket.posted = False
                try:
                    return await call()
                except (RateLimitedError, TransientError):
                    if ticket.seat.tries > self._desk.max_retries or not ticket.posted:
                        raise
                ticket.unseat(tried=True)
        except RequestError as error:
            note_attempts(error, max(1, ticket.seat.tries))
            raise
        finally:
            current_ticket.reset(token)
            demand.sent()

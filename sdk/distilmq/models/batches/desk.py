"""Where requests of one model become batch jobs: collected, planned, started, watched, and answered.

A job goes through these, in this order: its requests are recorded as planned under the job's name; the provider is
given the job with that name; what the provider calls it is recorded; it is looked at until it is over; its answers go
to whoever asked. Whoever dies between two of them leaves enough for the next one to find the job, and to ask for
nothing twice. It belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distilmq.errors import (
    DrainedError,
    InvalidRequestError,
    RateLimitedError,
    RequestError,
    StepFatalError,
    TooLongError,
    TransientError,
)
from distilmq.models.batches.book import JobBook, Planned
from distilmq.models.batches.jobs import Line, Look, Results, Seat, custom_id, lots
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.batches.ticket import Ticket
from distilmq.models.batches.tidying import Tidying
from distilmq.models.requests.retries import RetryPolicy

T = TypeVar("T")

LOOK_EVERY = 60.0
"""Seconds between two looks at a job."""
QUIET = 2.0
"""Seconds without a new request after which a job is made of those that wait."""
GLANCE = 0.1
"""Seconds between two looks at whether the worker drains."""
PLAN_AGAIN = 5.0
"""Seconds after which a plan is said again: the message may be lost."""
LISTED_AFTER = 10.0
"""Seconds from its plan in which a job that was begun may not be in the provider's list yet."""
SETTLED_WITHIN = 15.0
"""Seconds that a draining worker waits for a job that is being begun, and for one that is being cancelled."""
LINE_ROOM = 200
"""Bytes of a request beside its body."""


@dataclass(frozen=True, slots=True)
class DeskSettings:
    """How jobs are made and looked at."""

    look_every: float = LOOK_EVERY
    most_requests: int | None = None
    """In a job; the provider's own bound where it is not given."""
    quiet: float = QUIET
    cancels: bool = False
    """Whether jobs are cancelled when the worker drains."""
    policy: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(slots=True, eq=False)
class _Running:
    """A job, and who waits for it."""

    job: str
    id: str
    planned: float
    size: int
    book: JobBook
    tickets: dict[int, Ticket] = field(default_factory=dict[int, Ticket])
    done: int = -1
    cancelled: bool = False


class JobDesk:
    """Asks through batch jobs.

    Args:
        provider: runs them.
        settings: how.
        model: its name, for the log.
        log: told what becomes of jobs.
    """

    def __init__(self, provider: BatchProvider, settings: DeskSettings, *, model: str, log: logging.Logger) -> None:
        self._provider = provider
        self._settings = settings
        self._model = model
        self._log = log
        self._most = min(settings.most_requests or provider.most_requests, provider.most_requests)
        self._lot = self._most
        """Requests in a job at most, as far as the provider's queue has room."""
        self._collected: list[Ticket] = []
        self._tidying = Tidying(provider, log)
        self._running: dict[str, _Running] = {}
        self._callers: dict[Callable[[], bool], set[Ticket]] = {}
        """Who has to be asked whether they drain, and what they wait for."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[str]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._glancing: asyncio.TimerHandle | None = None

    @property
    def max_retries(self) -> int:
        """How often a request that met a passing fault in a job goes into another one."""
        return self._settings.policy.max_retries

    async def finish(self) -> None:
        """The model is unloaded: waits for what is being tidied up."""
        await self._tidying.finish()

    async def deliver(self, ticket: Ticket) -> Any:
        """Has a request asked, in the job it is in or in the next one; see `Ticket.post`."""
        if ticket.draining():
            raise self._drained()
        ticket.answer = asyncio.get_running_loop().create_future()
        waiting = self._callers.setdefault(ticket.draining, set())
        waiting.add(ticket)
        self._glance_later()
        try:
            if ticket.seat.job:
                self._join(ticket)
            else:
                self._collect(ticket)
            return await ticket.answer
        finally:
            waiting.discard(ticket)
            if not waiting:
                self._callers.pop(ticket.draining, None)

    # ------------------------------------------------------------ collecting

    def _collect(self, ticket: Ticket, *, after: float = 0.0) -> None:
        ticket.size = len(json.dumps(ticket.body)) + LINE_ROOM
        if ticket.size > self._provider.most_bytes:
            text = f"'{self._model}': a request of {ticket.size:,} bytes is larger than a job of {self._provider.name}"
            ticket.settle(TooLongError(text))
            return
        self._collected.append(ticket)
        full = len(self._collected) >= self._lot
        self._flush_in(0.0 if full else max(after, self._settings.quiet))

    def _flush_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _flush(self) -> None:
        """Makes jobs of what was collected."""
        self._timer = None
        by_url: dict[str, list[Ticket]] = {}
        for ticket in self._collected:
            if ticket.answer is not None and not ticket.answer.done():
                by_url.setdefault(ticket.url, []).append(ticket)
        self._collected = []
        for tickets in by_url.values():
            sizes = [ticket.size for ticket in tickets]
            for lot in lots(sizes, most_requests=self._lot, most_bytes=self._provider.most_bytes):
                self._do(self._begin([tickets[place] for place in lot]))

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ beginning a job

    async def _begin(self, tickets: list[Ticket]) -> None:
        job = await self._planned(tickets)
        if job is None:
            return
        start = asyncio.get_running_loop().create_task(self._started(job, tickets))
        self._starting.add(start)
        try:
            id = await start
        except (RequestError, DrainedError, StepFatalError) as error:
            self._refused(tickets, error)
            return
        finally:
            self._starting.discard(start)
        seated = {ticket.seat.number: ticket for ticket in tickets}
        running = _Running(job, id, time.time(), len(tickets), tickets[0].book, seated)
        self._running[job] = running
        self._log.info(
            "%d requests to '%s' went to %s in batch job %s", running.size, self._model, self._provider.name, id
        )
        await self._follow(running)

    def _refused(self, tickets: Sequence[Ticket], error: RequestError | DrainedError | StepFatalError) -> None:
        """The provider does not take a job: for what is in it, that is found by halving, or whatever is in it."""
        middle = len(tickets) // 2
        if isinstance(error, RequestError) and middle:
            for half in (tickets[:middle], tickets[middle:]):
                for ticket in half:
                    ticket.unseat(tried=False)
                self._do(self._begin(list(half)))
            return
        for ticket in tickets:
            ticket.settle(error)

    async def _planned(self, tickets: list[Ticket]) -> str | None:
        """Records which requests go into the next job; its name, or None when none of them is wanted any more."""
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
            open_ = [ticket for ticket in tickets if ticket.answer is not None and not ticket.answer.done()]
            wanted = [ticket for ticket in open_ if ticket.book not in unwanted]
            if len(wanted) == len(tickets):
                return job
            for ticket in tickets:
                ticket.unseat(tried=False)
                if ticket.book in unwanted:
                    ticket.settle(self._drained())
            tickets[:] = wanted  # the job is exactly what is recorded of it, or another one
        return None

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

    async def _started(self, job: str, tickets: Sequence[Ticket]) -> str:
        lines = [Line(custom_id(job, ticket.seat.number), ticket.url, ticket.body) for ticket in tickets]
        planned = time.time()
        failures = 0
        while True:
            try:
                return await self._provider.start(job, lines)
            except (RateLimitedError, TransientError) as error:
                await self._wait(error, failures)
                failures += 1
            if all(ticket.draining() for ticket in tickets):
                raise self._drained()
            # It may have been begun all the same.
            if (found := await self._find(job, planned, len(lines))) is not None:
                return found

    # ------------------------------------------------------------ a job that was begun

    def _join(self, ticket: Ticket) -> None:
        """Waits for a job of an earlier time."""
        seat = ticket.seat
        running = self._running.get(seat.job)
        if running is None:
            running = _Running(seat.job, seat.id, seat.planned, seat.size, ticket.book)
            self._running[seat.job] = running
            self._do(self._follow(running))
        running.tickets[seat.number] = ticket

    async def _follow(self, running: _Running) -> None:
        """Sees a job through; what ends that early is what its requests get."""
        try:
            if running.id or await self._found(running):
                running.book.started(running.job, running.id)
                await self._watch(running)
        except (RequestError, StepFatalError) as error:
            for ticket in running.tickets.values():
                ticket.settle(error)
        finally:
            self._running.pop(running.job, None)

    async def _found(self, running: _Running) -> bool:
        """Looks for a job that was planned, and of which it is not known whether it was begun."""
        found = await self._find(running.job, running.planned, running.size)
        if found is None:
            self._log.info("A batch job of %d requests was not begun: they are sent now", running.size)
            self._hand_back(running, Results({}))
            return False
        running.id = found
        self._log.info("Batch job %s was found at %s", running.id, self._provider.name)
        return True

    async def _find(self, job: str, planned: float, size: int) -> str | None:
        while True:
            found = await self._patiently(
                lambda: self._provider.find(job, planned=planned, size=size, known=self._known())
            )
            if found.id is not None:
                return found.id
            left = planned + LISTED_AFTER - time.time()
            if found.sure and left <= 0:
                return None
            await asyncio.sleep(min(self._every, left) if found.sure else self._every)

    def _known(self) -> set[str]:
        return {running.id for running in self._running.values() if running.id}

    async def _watch(self, running: _Running) -> None:
        look = await self._patiently(lambda: self._provider.look(running.id))
        while not look.over:
            self._tell(running, look)
            await asyncio.sleep(self._every)
            look = await self._patiently(lambda: self._provider.look(running.id))
        results = await self._patiently(lambda: self._provider.results(running.job, look))
        failed = sum(isinstance(outcome, Exception) for outcome in results.outcomes.values())
        self._log.info(
            "Batch job %s is over: %d answers, %d errors", running.id, len(results.outcomes) - failed, failed
        )
        running.book.ended(running.job)
        if results.full:
            results = self._without_room(running)
        if len(running.tickets) == running.size:  # else other processes have the rest
            self._tidying.when_recorded(running.id, look, {ticket.book for ticket in running.tickets.values()})
        self._hand_back(running, results)

    def _without_room(self, running: _Running) -> Results:
        """The provider's queue had no room for a job: smaller ones are tried when others are through."""
        self._lot = max(1, running.size // 2)
        if running.size == 1 and len(self._running) == 1:
            text = f"'{self._model}': {self._provider.name} has no room for this request in an empty queue"
            return Results({}, InvalidRequestError(text))
        return Results({}, full=True)

    def _hand_back(self, running: _Running, results: Results) -> None:
        """Gives each request its answer; one that was not begun goes into the next job."""
        self._running.pop(running.job, None)
        for number, ticket in running.tickets.items():
            outcome = results.outcomes.get(number, results.rest)
            if outcome is not None:
                ticket.settle(outcome)
            elif ticket.answer is not None and not ticket.answer.done():
                ticket.unseat(tried=False)
                self._collect(ticket, after=self._every if results.full else 0.0)

    def _tell(self, running: _Running, look: Look) -> None:
        if look.done != running.done:
            running.done = look.done
            self._log.info("Batch job %s: %d of %d requests done", running.id, look.done, look.total)

    @property
    def _every(self) -> float:
        return self._settings.look_every

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Asks the provider until it answers: a job runs for hours, and an outage is no reason to give it up."""
        failures = 0
        while True:
            try:
                return await call()
            except (RateLimitedError, TransientError) as error:
                await self._wait(error, failures)
                failures += 1

    async def _wait(self, error: RateLimitedError | TransientError, failures: int) -> None:
        wait = self._settings.policy.delay(min(failures, 10), error.retry_after)
        log = self._log.warning if failures == 0 else self._log.debug
        log("Batch jobs of %s: %s; tried again in %.0f s", self._provider.name, error, wait)
        await asyncio.sleep(wait)

    # ------------------------------------------------------------ draining

    def _glance_later(self) -> None:
        if self._glancing is None:
            self._glancing = asyncio.get_running_loop().call_later(GLANCE, self._glance)

    def _glance(self) -> None:
        self._glancing = None
        leaving = {ticket for draining, waiting in self._callers.items() if draining() for ticket in waiting}
        if leaving:
            self._do(self._leave(leaving))
        elif self._callers:
            self._glance_later()

    async def _leave(self, leaving: Iterable[Ticket]) -> None:
        """Waits for some requests no longer. Their jobs run on, unless they are to be cancelled."""
        if self._starting:
            await asyncio.wait(self._starting, timeout=SETTLED_WITHIN)
        jobs = dict.fromkeys(ticket.seat.job for ticket in leaving if ticket.seat.job in self._running)
        if self._settings.cancels:
            await asyncio.gather(*(self._cancel(self._running[job]) for job in jobs))
        for ticket in leaving:
            ticket.settle(self._drained())
        if self._callers:
            self._glance_later()

    async def _cancel(self, running: _Running) -> None:
        if running.cancelled or not running.id:
            return
        running.cancelled = True
        try:
            await asyncio.wait_for(self._provider.cancel(running.id), SETTLED_WITHIN)
        except (RequestError, StepFatalError, TimeoutError) as error:
            self._log.warning("Batch job %s could not be cancelled: %s", running.id, error or "no answer in time")
        else:
            self._log.info("Batch job %s was cancelled", running.id)
            running.book.ended(running.job)

    def _drained(self) -> DrainedError:
        return DrainedError(f"the worker drains: batch jobs of '{self._model}' are not waited for")

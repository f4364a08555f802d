"""Where requests of one model become batch jobs: collected, begun, watched, and answered.

A job goes through these, in this order: its requests are recorded as planned under the job's name; the provider is
given the job with that name; what the provider calls it is recorded; it is looked at until it is over; its answers go
to whoever asked. Whoever dies between two of them leaves enough for the next one to find the job, and to ask for
nothing twice. It belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from distilmq.errors import DrainedError, InvalidRequestError, RequestError, StepFatalError
from distilmq.models.batches.beginning import Beginning, drained
from distilmq.models.batches.book import JobBook
from distilmq.models.batches.collecting import Collection
from distilmq.models.batches.jobs import Look, Results
from distilmq.models.batches.patience import Patience
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.batches.ticket import Ticket
from distilmq.models.batches.tidying import Tidying
from distilmq.models.requests.retries import RetryPolicy

LOOK_EVERY = 60.0
"""Seconds between two looks at a job."""
QUIET = 2.0
"""Seconds without a new request after which a job is made of those that wait."""
GLANCE = 0.1
"""Seconds between two looks at whether the worker drains."""
SETTLED_WITHIN = 15.0
"""Seconds that a draining worker waits for a job that is being begun, and for one that is being cancelled."""


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
        self._patience = Patience(provider, settings.policy, settings.look_every, log)
        self._beginning = Beginning(provider, self._patience, model=model, known=self._known)
        self._collection = Collection(
            provider,
            most=min(settings.most_requests or provider.most_requests, provider.most_requests),
            quiet=settings.quiet,
            model=model,
            begin=lambda tickets: self._do(self._begin(tickets)),
        )
        self._tidying = Tidying(provider, log)
        self._running: dict[str, _Running] = {}
        self._callers: dict[Callable[[], bool], set[Ticket]] = {}
        """Who has to be asked whether they drain, and what they wait for."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[str]] = set()
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
            raise drained(self._model)
        ticket.answer = asyncio.get_running_loop().create_future()
        waiting = self._callers.setdefault(ticket.draining, set())
        waiting.add(ticket)
        self._glance_later()
        try:
            if ticket.seat.job:
                self._join(ticket)
            else:
                self._collection.add(ticket)
            return await ticket.answer
        finally:
            waiting.discard(ticket)
            if not waiting:
                self._callers.pop(ticket.draining, None)

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ beginning a job

    async def _begin(self, tickets: list[Ticket]) -> None:
        job = await self._beginning.plan(tickets)
        if job is None:
            return
        start = asyncio.get_running_loop().create_task(self._beginning.start(job, tickets))
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
        found = await self._patience.find(running.job, planned=running.planned, size=running.size, known=self._known)
        if found is None:
            self._log.info("A batch job of %d requests was not begun: they are sent now", running.size)
            self._hand_back(running, Results({}))
            return False
        running.id = found
        self._log.info("Batch job %s was found at %s", running.id, self._provider.name)
        return True

    async def _watch(self, running: _Running) -> None:
        look = await self._patience.ask(lambda: self._provider.look(running.id))
        while not look.over:
            self._tell(running, look)
            await asyncio.sleep(self._settings.look_every)
            look = await self._patience.ask(lambda: self._provider.look(running.id))
        results = await self._patience.ask(lambda: self._provider.results(running.job, look))
        failed = sum(isinstance(outcome, Exception) for outcome in results.outcomes.values())
        self._log.info(
            "Batch job %s is over: %d answers, %d errors", running.id, len(results.outcomes) - failed, failed
        )
        running.book.ended(running.job)
        if results.full:
            results = self._without_room(running)
        requests = Counter(ticket.book for ticket in running.tickets.values())
        self._tidying.when_recorded(running.id, running.size, look, requests)
        self._hand_back(running, results)

    def _without_room(self, running: _Running) -> Results:
        """The provider's queue had no room for a job: smaller ones are tried when others are through."""
        self._collection.most = max(1, running.size // 2)
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
            elif ticket.waits:
                ticket.unseat(tried=False)
                self._collection.add(ticket, after=self._settings.look_every if results.full else 0.0)

    def _known(self) -> set[str]:
        return {running.id for running in self._running.values() if running.id}

    def _tell(self, running: _Running, look: Look) -> None:
        if look.done != running.done:
            running.done = look.done
            self._log.info("Batch job %s: %d of %d requests done", running.id, look.done, look.total)

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
            ticket.settle(drained(self._model))
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

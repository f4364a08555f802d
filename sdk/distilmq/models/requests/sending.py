"""Sending the requests of one call of `generate`: all at once within the bound, each with an outcome of its own.

The calling thread looks requests up in the batch's answers, hands the others to the event loop, and keeps each
answer as it comes; the book is therefore only ever used from the thread that called `process`. One failing
request does not touch its neighbours: they are awaited and their answers kept before anything is raised.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any, Protocol, cast

from distilmq.errors import DrainedError, StepFatalError
from distilmq.models.requests.answers import (
    AnswerBook,
    KnownAnswer,
    current_answers,
    decode_answer,
    encode_answer,
    failed_requests,
)
from distilmq.models.requests.demand import expected
from distilmq.models.requests.event_loop import EventLoopThread
from distilmq.models.requests.generations import Outcome, Output, replaced, with_lost
from distilmq.models.requests.lending import Borrower
from distilmq.models.requests.limiter import Limiter
from distilmq.models.requests.rates import NOTHING, Cost
from distilmq.models.requests.retries import RetryPolicy, with_retries
from distilmq.models.requests.sources import Used

Draining = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a model."""

    place: int
    """Of its input in the list given to `generate`."""
    row: int
    """Of the list given to `process`."""
    key: bytes
    call: Callable[[], Coroutine[Any, Any, Output]]
    estimate: Cost = NOTHING
    """What it takes, for limits on tokens."""
    then: Then | None = None
    """Told of its outcome, says what is to be asked because of it."""
    taken: Callable[[Output], None] | None = None
    """Told of the answer before it is kept."""
    anew: Callable[[int, Then], Request] | None = None
    """Makes the request for one of its generations alone, in the place of one that was of no use."""
    replaces: int | None = None
    """Of one that follows from another: for which generation of the first one's answer it is."""
    used: list[Used] = field(default_factory=list[Used])
    """The answers that it, and those that follow from it, were given."""


Then = Callable[[Outcome], Sequence[Request]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that is on its way."""

    future: Future[Output]
    occurrence: int | None = None
    """Which of several equal requests of the row it is, where that is decided before the answer comes."""


class Way(Protocol):
    """The way to one model."""

    def announce(self, requests: int) -> None:
        """So many requests are coming; less than none where some that were announced do not come."""
        ...

    def submit(self, request: Request, draining: Draining) -> Sent:
        """Sends a request; called from the thread that called `process`."""
        ...

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Ends it, after something that is done on its loop."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A `Way` that sends each request by itself: an event loop, and the gate in front of it."""

    loop: EventLoopThread
    limiter: Limiter
    policy: RetryPolicy
    borrower: Borrower | None = None
    """Sees to our share where the limits are lent."""

    def announce(self, requests: int) -> None:
        """See `Way`."""
        self.limiter.waits(requests)

    def submit(self, request: Request, draining: Draining) -> Sent:
        """See `Way`."""
        coroutine = with_retries(
            request.call,
            policy=self.policy,
            limiter=self.limiter,
            draining=draining,
            estimate=request.estimate,
            actual=partial(cost_of, estimate=request.estimate),
        )
        return Sent(self.loop.submit(coroutine))

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """See `Way`."""
        try:
            self.loop.run(last())
        finally:
            if self.borrower is not None:
                self.borrower.close()
            self.limiter.close()
            self.loop.close()


def send(requests: Sequence[Request], way: Way) -> list[Outcome]:
    """The outcome of each request, in order: an answer or what it raised.

    Raises:
        StepFatalError: the provider refuses all requests (key, model, quota).
        DrainedError: the worker drains and some requests were not sent; the others' answers are kept.
    """
    book = current_answers.get()
    failed = failed_requests.get()
    asked = _Asked(requests, book, failed)
    for number, outcome, occurrence in sent(asked.missing, way, book):
        asked.came(number, outcome, occurrence)
    outcomes = asked.outcomes
    for kind in (StepFatalError, DrainedError):
        if (found := next((outcome for outcome in outcomes.values() if isinstance(outcome, kind)), None)) is not None:
            raise found
    return [outcomes[number] for number in range(len(requests))]


class _Asked:
    """The requests of one call of `send`, and those that their outcomes call for.

    Args:
        requests: to begin with.
        book: the answers that the batch has.
        failed: the requests of the batch that failed for good.
    """

    def __init__(
        self, requests: Sequence[Request], book: AnswerBook | None, failed: dict[bytes, Exception] | None
    ) -> None:
        self.outcomes: dict[int, Outcome] = {}
        """By number: those to begin with have the first ones."""
        self.missing: dict[int, Request] = {}
        """What has to be sent; it grows as outcomes come."""
        self._requests = list(requests)
        self._book = book
        self._failed = failed
        for number in range(len(requests)):
            self._look_up(number)

    def came(self, number: int, outcome: Outcome, occurrence: int | None) -> None:
        """The outcome of a request that was sent, and which of several equal ones it was, where that was decided."""
        request = self._requests[number]
        if not isinstance(outcome, Exception):
            if request.taken is not None:
                request.taken(outcome)
            if self._book is not None and (answer := encode_answer(outcome)) is not None:
                self._use(request, outcome, self._book.keep(request.row, request.key, answer, occurrence))
        elif self._failed is not None and not isinstance(outcome, (DrainedError, StepFatalError)):
            self._failed[request.key] = outcome
        self._settle(number, outcome)

    def _look_up(self, number: int) -> None:
        request = self._requests[number]
        if (known := self._find(request)) is not None:
            output, answer = known
            self._use(request, output, answer.occurrence)
            if answer.lost and request.anew is not None:
                self._complete(number, output, answer.lost, request.anew)
            else:
                self._settle(number, output)
        elif self._failed is not None and (error := self._failed.get(request.key)) is not None:
            self._settle(number, error)
        else:
            self.missing[number] = request

    def _find(self, request: Request) -> tuple[Output, KnownAnswer] | None:
        """The answer that a request already has, and how it is recorded."""
        known = self._book.find(request.row, request.key) if self._book is not None else None
        output = decode_answer(known.data) if known is not None else None
        return (output, known) if output is not None and known is not None else None

    def _use(self, request: Request, output: Output, occurrence: int) -> None:
        request.used.append(Used(request.key, occurrence, len(output["generations"]), request.replaces))

    def _complete(self, number: int, output: Output, lost: Sequence[int], anew: Callable[[int, Then], Request]) -> None:
        """Asks for those generations of a known answer that were of no use."""
        completion = _Completion(output, lost)
        for place in lost:
            self._follow(number, anew(place, partial(self._completed, number, completion, place)))

    def _completed(self, number: int, completion: _Completion, place: int, outcome: Outcome) -> Sequence[Request]:
        completion.take(place, outcome)
        if (whole := completion.outcome) is not None:
            self._settle(number, whole)
        return ()

    def _follow(self, number: int, request: Request) -> None:
        self._requests.append(replace(request, used=self._requests[number].used))
        self._look_up(len(self._requests) - 1)

    def _settle(self, number: int, outcome: Outcome) -> None:
        self.outcomes[number] = outcome
        then = self._requests[number].then
        if then is None or isinstance(outcome, (DrainedError, StepFatalError)):
            return
        for request in then(outcome):
            self._follow(number, request)


class _Completion:
    """A known answer, of which some generations are asked for anew."""

    def __init__(self, output: Output, lost: Sequence[int]) -> None:
        self._output = output
        self._waiting = set(lost)
        self._failed: dict[int, Exception] = {}

    @property
    def outcome(self) -> Outcome | None:
        """The answer with what came in the place of those; None while one is awaited."""
        return None if self._waiting else with_lost(self._output, self._failed)

    def take(self, place: int, outcome: Outcome) -> None:
        """What came in the place of one."""
        self._waiting.discard(place)
        if isinstance(outcome, Exception):
            self._failed[place] = outcome
        else:
            self._output = replaced(self._output, place, outcome)


def cost_of(output: Output, estimate: Cost) -> Cost:
    """The tokens that an answer took, as the model says; where it does not, as they were estimated."""
    statistics = cast("Mapping[str, Sequence[float | None]]", output.get("statistics") or {})
    return Cost(
        _sum(statistics.get("input_tokens"), estimate.input_tokens),
        _sum(statistics.get("output_tokens"), estimate.output_tokens),
    )


def _sum(told: Sequence[float | None] | None, estimate: float) -> float:
    known = [number for number in told or () if number is not None]
    return sum(known) if known else estimate


def sent(
    requests: Mapping[int, Request], way: Way, book: AnswerBook | None
) -> Iterator[tuple[int, Outcome, int | None]]:
    """Sends requests, those as well that are added meanwhile, and yields each with its outcome as it comes.

    The third value is which of several equal requests it was, where that was decided when it was sent.
    """
    ended = threading.Event()

    def draining() -> bool:
        return ended.is_set() or (book is not None and book.draining())

    done: SimpleQueue[tuple[int, Future[Output]]] = SimpleQueue()
    out: dict[int, Sent] = {}

    def submit(number: int, request: Request) -> None:
        out[number] = way.submit(request, draining)
        out[number].future.add_done_callback(lambda ready: done.put((number, ready)))

    way.announce(len(requests))
    if (rows := expected.get()) is not None:
        rows.met()
    coming = deque(requests.items())
    known, answered = len(requests), 0
    try:
        while answered < known:
            # An answer that has come is kept before the next request goes: thousands of them take a while.
            if coming and done.empty():
                submit(*coming.popleft())
                continue
            number, ready = done.get()
            answered += 1
            outcome = _outcome(ready)
            if isinstance(outcome, StepFatalError):
                ended.set()  # Others would only be refused alike: those that are out are awaited, no new one is sent.
            yield number, outcome, out[number].occurrence
            if len(requests) > known:
                way.announce(len(requests) - known)
                coming.extend(islice(requests.items(), known, None))
                known = len(requests)
    finally:
        for each in out.values():
            each.future.cancel()
        if coming:
            way.announce(-len(coming))


def _outcome(ready: Future[Output]) -> Outcome:
    error = ready.exception()
    if error is None:
        return ready.result()
    if isinstance(error, Exception):
        return error
    raise error

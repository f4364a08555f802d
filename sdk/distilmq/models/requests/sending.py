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
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Any, Protocol, cast

from distilmq.errors import DrainedError, StepFatalError
from distilmq.models.requests.answers import (
    AnswerBook,
    current_answers,
    decode_answer,
    encode_answer,
    failed_requests,
)
from distilmq.models.requests.demand import expected
from distilmq.models.requests.event_loop import EventLoopThread
from distilmq.models.requests.lending import Borrower
from distilmq.models.requests.limiter import Limiter
from distilmq.models.requests.rates import NOTHING, Cost
from distilmq.models.requests.retries import RetryPolicy, with_retries

Output = Mapping[str, Any]
Outcome = Output | Exception
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
            actual=cost_of,
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
                self._book.keep(request.row, request.key, answer, occurrence)
        elif self._failed is not None and not isinstance(outcome, (DrainedError, StepFatalError)):
            self._failed[request.key] = outcome
        self._settle(number, outcome)

    def _look_up(self, number: int) -> None:
        known = _known(self._requests[number], self._book, self._failed)
        if known is None:
            self.missing[number] = self._requests[number]
        else:
            self._settle(number, known)

    def _settle(self, number: int, outcome: Outcome) -> None:
        self.outcomes[number] = outcome
        then = self._requests[number].then
        if then is None or isinstance(outcome, (DrainedError, StepFatalError)):
            return
        for request in then(outcome):
            self._requests.append(request)
            self._look_up(len(self._requests) - 1)


def cost_of(output: Output) -> Cost:
    """The tokens that an answer took, as the model says."""
    statistics = cast("Mapping[str, Sequence[float]]", output.get("statistics") or {})
    return Cost(sum(statistics.get("input_tokens") or ()), sum(statistics.get("output_tokens") or ()))


def _known(request: Request, book: AnswerBook | None, failed: dict[bytes, Exception] | None) -> Outcome | None:
    """The outcome that a request already has, or None."""
    if book is not None and (answer := book.find(request.row, request.key)) is not None:
        decoded = decode_answer(answer)
        if decoded is not None:
            return decoded
    return failed.get(request.key) if failed is not None else None


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

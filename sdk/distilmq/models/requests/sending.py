"""Sending the requests of one call of `generate`: all at once within the bound, each with an outcome of its own.

The calling thread looks requests up in the batch's answers, hands the others to the event loop, and keeps each
answer as it comes; the book is therefore only ever used from the thread that called `process`. One failing
request does not touch its neighbours: they are awaited and their answers kept before anything is raised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, cast

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


@dataclass(frozen=True, slots=True)
class Channel:
    """The way to one model: an event loop, and the gate in front of it."""

    loop: EventLoopThread
    limiter: Limiter
    policy: RetryPolicy
    borrower: Borrower | None = None
    """Sees to our share where the limits are lent."""


Outcome = Output | Exception


def send(requests: Sequence[Request], channel: Channel) -> list[Outcome]:
    """The outcome of each request, in order: an answer or what it raised.

    Raises:
        StepFatalError: the provider refuses all requests (key, model, quota).
        DrainedError: the worker drains and some requests were not sent; the others' answers are kept.
    """
    book = current_answers.get()
    failed = failed_requests.get()
    outcomes: dict[int, Outcome] = {}
    for number, request in enumerate(requests):
        if (known := _known(request, book, failed)) is not None:
            outcomes[number] = known
    missing = [number for number in range(len(requests)) if number not in outcomes]
    for number, outcome in _sent({number: requests[number] for number in missing}, channel, book):
        outcomes[number] = outcome
        request = requests[number]
        if not isinstance(outcome, Exception):
            if book is not None and (answer := encode_answer(outcome)) is not None:
                book.keep(request.row, request.key, answer)
        elif failed is not None and not isinstance(outcome, (DrainedError, StepFatalError)):
            failed[request.key] = outcome
    for kind in (StepFatalError, DrainedError):
        if (found := next((outcome for outcome in outcomes.values() if isinstance(outcome, kind)), None)) is not None:
            raise found
    return [outcomes[number] for number in range(len(requests))]


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


def _sent(requests: Mapping[int, Request], channel: Channel, book: AnswerBook | None) -> Iterator[tuple[int, Outcome]]:
    """Sends requests and yields each with its outcome as it comes."""
    ended = threading.Event()

    def draining() -> bool:
        return ended.is_set() or (book is not None and book.draining())

    done: SimpleQueue[tuple[int, Future[Output]]] = SimpleQueue()
    futures: list[Future[Output]] = []
    channel.limiter.waits(len(requests))
    if (rows := expected.get()) is not None:
        rows.met()
    for number, request in requests.items():
        coroutine = with_retries(
            request.call,
            policy=channel.policy,
            limiter=channel.limiter,
            draining=draining,
            estimate=request.estimate,
            actual=cost_of,
        )
        future = channel.loop.submit(coroutine)
        future.add_done_callback(lambda ready, number=number: done.put((number, ready)))
        futures.append(future)
    try:
        for _ in futures:
            number, ready = done.get()
            outcome = _outcome(ready)
            if isinstance(outcome, StepFatalError):
                ended.set()  # Others would only be refused alike: those that are out are awaited, no new one is sent.
            yield number, outcome
    finally:
        for future in futures:
            future.cancel()


def _outcome(ready: Future[Output]) -> Outcome:
    error = ready.exception()
    if error is None:
        return ready.result()
    if isinstance(error, Exception):
        return error
    raise error

"""How the requests of one call are sent: what is answered is kept at once, whatever is still to be sent."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from distilmq.errors import InvalidRequestError, StepFatalError
from distilmq.models.requests.answers import KnownAnswer, current_answers
from distilmq.models.requests.sending import Draining, Outcome, Output, Request, Sent, send
from distilmq.models.requests.sources import Generation


async def never() -> Output:
    raise AssertionError("the way of these tests answers by itself")


def request(row: int, **fields: Any) -> Request:
    return Request(row, row, b"%d" % row, never, **fields)


def output(row: int) -> Output:
    return {"generations": [str(row)]}


class AtOnce:
    """A way on which each request is answered the moment it is sent."""

    def __init__(self, log: list[str], answer: Callable[[int], Outcome] = output) -> None:
        self.announced = 0
        self._log = log
        self._answer = answer

    def announce(self, requests: int) -> None:
        self.announced += requests

    def submit(self, request: Request, draining: Draining) -> Sent:
        self.announced -= 1
        self._log.append(f"{'not sent' if draining() else 'sent'} {request.row}")
        future: Future[Output] = Future()
        answer = self._answer(request.row)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return Sent(future)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Nothing to close."""


class Book:
    """A book without answers."""

    def __init__(self, log: list[str]) -> None:
        self._log = log

    def draining(self) -> bool:
        return False

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        return None

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        self._log.append(f"kept {row}")
        return 0

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """Nobody asks."""

    def spoil(self, row: int, generation: int) -> None:
        """Nobody asks."""


@pytest.fixture
def log() -> Any:
    """What happens, with a book that takes part in it."""
    happened: list[str] = []
    token = current_answers.set(Book(happened))
    yield happened
    current_answers.reset(token)


def test_an_answer_is_kept_before_further_requests_are_sent(log: list[str]) -> None:
    way = AtOnce(log)

    outcomes = send([request(row) for row in range(3)], way)

    assert outcomes == [output(row) for row in range(3)]
    assert log == ["sent 0", "kept 0", "sent 1", "kept 1", "sent 2", "kept 2"]
    assert way.announced == 0


def test_what_an_outcome_calls_for_is_sent_as_well(log: list[str]) -> None:
    way = AtOnce(log)

    outcomes = send([request(0, then=lambda outcome: [request(7), request(8)]), request(1)], way)

    assert outcomes == [output(0), output(1)]
    assert sorted(log) == ["kept 0", "kept 1", "kept 7", "kept 8", "sent 0", "sent 1", "sent 7", "sent 8"]
    assert way.announced == 0


def test_one_that_fails_does_not_touch_the_others(log: list[str]) -> None:
    error = InvalidRequestError("no")
    way = AtOnce(log, lambda row: error if row == 1 else output(row))

    assert send([request(row) for row in range(3)], way) == [output(0), error, output(2)]


def test_nothing_that_was_announced_counts_as_coming_when_sending_breaks_off(log: list[str]) -> None:
    def broken(outcome: Outcome) -> list[Request]:
        raise RuntimeError("a fault of ours")

    way = AtOnce(log)

    with pytest.raises(RuntimeError, match="a fault of ours"):
        send([request(0, then=broken), request(1), request(2)], way)

    assert log == ["sent 0", "kept 0"]
    assert way.announced == 0


def test_when_the_provider_refuses_all_none_is_sent_any_more(log: list[str]) -> None:
    way = AtOnce(log, lambda row: StepFatalError("the key is refused"))

    with pytest.raises(StepFatalError):
        send([request(row) for row in range(3)], way)

    assert log == ["sent 0", "not sent 1", "not sent 2"]

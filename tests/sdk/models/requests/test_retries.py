"""When a request is tried again, after how long, and what each status stands for."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from distilmq.errors import (
    InvalidRequestError,
    RateLimitedError,
    RefusedError,
    StepFatalError,
    TooLongError,
    TransientError,
)
from distilmq.models.requests.concurrency import AdaptiveLimit
from distilmq.models.requests.demand import Demand
from distilmq.models.requests.limiter import Limiter
from distilmq.models.requests.rates import NOTHING, Limits, Pace
from distilmq.models.requests.retries import RetryPolicy, error_for_status, retry_after, seconds, with_retries


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "bad field", InvalidRequestError),
        (400, "Invalid model: m (invalid_model)", StepFatalError),
        (400, "filtered (content_filter)", RefusedError),
        (401, "who are you", StepFatalError),
        (403, "not you", StepFatalError),
        (404, "no such model", StepFatalError),
        (408, "too slow", TransientError),
        (400, "the maximum context length is 8192 tokens (context_length_exceeded)", TooLongError),
        (413, "too large", TooLongError),
        (422, "not so", InvalidRequestError),
        (429, "slow down", RateLimitedError),
        (429, "no money (insufficient_quota)", StepFatalError),
        (500, "oops", TransientError),
        (529, "overloaded", TransientError),
    ],
)
def test_a_status_stands_for_an_error(status: int, message: str, kind: type[Exception]) -> None:
    error = error_for_status(status, message, who="'m' at x")

    assert type(error) is kind
    assert str(error) == f"'m' at x answered {status}: {message}"


def test_delays_double_up_to_the_longest_with_jitter_over_the_upper_half() -> None:
    least = RetryPolicy(first_delay=1, longest_delay=8, random=lambda: 0.0)
    most = RetryPolicy(first_delay=1, longest_delay=8, random=lambda: 1.0)

    assert [least.delay(retry, None) for retry in range(5)] == [0.5, 1, 2, 4, 4]
    assert [most.delay(retry, None) for retry in range(5)] == [1, 2, 4, 8, 8]


def test_a_retry_never_comes_before_the_provider_says() -> None:
    policy = RetryPolicy(longest_delay=8, random=lambda: 0.0)

    assert policy.delay(0, 30.0) == 30.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf", "retry-after": "2"}, 2.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0.0),
        ({"retry-after": "Wed Oct 21 07:28:00 2015"}, 0.0),
        (None, None),
    ],
)
def test_the_wait_is_read_from_the_headers(headers: dict[str, str] | None, expected: float | None) -> None:
    assert retry_after(headers) == expected


def test_the_wait_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    wait = retry_after({"retry-after": date})

    assert wait is not None
    assert 50 < wait <= 60


@pytest.mark.parametrize(("text", "expected"), [("17s", 17.0), ("0.5s", 0.5), ("soon", None)])
def test_googles_durations_are_read(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


def test_the_last_error_says_how_often_the_request_was_sent() -> None:
    sent: list[int] = []

    async def call() -> None:
        sent.append(1)
        raise TransientError("oops")

    async def ask() -> None:
        limiter = Limiter(
            AdaptiveLimit(1, 1), Pace(Limits(), 0.0), name="m", log=logging.getLogger("distilmq.tests"), demand=Demand()
        )
        await with_retries(
            call,
            policy=RetryPolicy(max_retries=2, first_delay=0.0),
            limiter=limiter,
            draining=lambda: False,
            estimate=NOTHING,
            actual=lambda answer: NOTHING,
        )

    with pytest.raises(TransientError) as raised:
        asyncio.run(ask())

    assert (len(sent), raised.value.attempts) == (3, 3)

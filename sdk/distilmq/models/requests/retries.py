"""Trying again: the one layer that does (SDK clients are made with `max_retries=0`).

Providers translate their errors with `error_for_status`; what is transient or rate limited is tried again after
a back-off with jitter (full jitter over the upper half, after the AWS architecture blog's "Exponential backoff and
jitter"), never earlier than the provider's Retry-After says.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

from distilmq.errors import (
    InvalidRequestError,
    RateLimitedError,
    RefusedError,
    RequestError,
    StepFatalError,
    TooLongError,
    TransientError,
)
from distilmq.models.requests.limiter import Limiter, Turn, current_limiter
from distilmq.models.requests.rates import Cost

T = TypeVar("T")

MAX_RETRIES = 6

_GLANCE = 0.1
"""Seconds between two looks at whether the worker drains, while a request waits for its next try."""

_FATAL = (401, 403, 404)
_TRANSIENT = (408, 409, 425)
_REFUSED_WORDS = ("content_filter", "content_policy", "responsibleaipolicy")
_TOO_LONG_WORDS = ("context_length", "context length", "context window", "prompt is too long", "too many tokens")
_FATAL_WORDS = ("insufficient_quota", "billing_hard_limit", "model_not_found", "invalid_model", "invalid model")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast a request is tried again."""

    max_retries: int = MAX_RETRIES
    first_delay: float = 1.0
    """Seconds before the first retry at most; doubled before each further one."""
    longest_delay: float = 60.0
    """Seconds; a longer Retry-After is waited for all the same."""
    random: Callable[[], float] = field(default=random.random, repr=False)
    """Gives numbers from 0 to 1."""

    def delay(self, retry: int, retry_after: float | None) -> float:
        """Seconds to wait before a retry, counted from 0."""
        most = min(self.longest_delay, self.first_delay * 2**retry)
        jittered = most * (0.5 + 0.5 * self.random())
        if retry_after is None:
            return jittered
        # Requests that were refused together shall not come back together.
        return retry_after * (1 + 0.1 * self.random())


async def with_retries(
    call: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    limiter: Limiter,
    draining: Callable[[], bool],
    estimate: Cost,
    actual: Callable[[T], Cost],
) -> T:
    """Makes a call, again where that may help; a call that waits holds no place.

    Args:
        call: sends the request.
        policy: how often and how fast.
        limiter: lets it through, and is told what became of it.
        draining: whether no new request may be sent.
        estimate: what it takes, for limits on tokens.
        actual: what it took, by its answer.

    Raises:
        DrainedError: the call could not be made (again), since the worker drains.
        RequestError: of the last try.
    """
    retry = 0
    while True:
        turn = await limiter.enter(draining, estimate)
        token = current_limiter.set(limiter)
        try:
            answer = await call()
            limiter.succeeded(turn, actual(answer))
            return answer
        except Exception as error:
            seen = _seen_as(error)
            _tell(limiter, turn, seen)
            if seen is None or retry >= policy.max_retries:
                note_attempts(error, retry + 1)
                raise
            wait = policy.delay(retry, seen.retry_after)
        finally:
            current_limiter.reset(token)
            limiter.leave(turn)
        retry += 1
        limiter.waits()
        await _wait(wait, draining)


def error_for_status(
    status: int, message: str, *, retry_after: float | None = None, who: str = "The provider"
) -> RequestError | StepFatalError:
    """The error that stands for a provider's HTTP status.

    Args:
        status: of the answer.
        message: the provider's words (with its error code, where there is one).
        retry_after: seconds that the provider asks to wait.
        who: names provider and model.
    """
    text = f"{who} answered {status}: {message}"
    words = message.lower()
    if status in _FATAL or any(word in words for word in _FATAL_WORDS):
        return StepFatalError(text)
    if status == 429:
        return RateLimitedError(text, retry_after=retry_after)
    if status in _TRANSIENT or status >= 500:
        return TransientError(text, retry_after=retry_after)
    if any(word in words for word in _REFUSED_WORDS):
        return RefusedError(text)
    if status == 413 or any(word in words for word in _TOO_LONG_WORDS):
        return TooLongError(text)
    return InvalidRequestError(text)


def document_of(error: BaseException | None) -> str | None:
    """The text that could not be read as JSON, where an error (or what it came of) is of that kind."""
    while error is not None and not isinstance(error, json.JSONDecodeError):
        error = error.__cause__ or error.__context__
    return error.doc if error is not None else None


def retry_after(headers: Mapping[str, str] | Any) -> float | None:
    """Seconds that the headers of an answer ask to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    if headers is None:
        return None
    found = {str(name).lower(): str(value) for name, value in cast("Mapping[str, str]", headers).items()}
    if (milliseconds := _number(found.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = found.get("retry-after")
    if value is None:
        return None
    if (named := _number(value)) is not None:
        return named
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:  # "-0000", or the form of C's asctime: RFC 9110, 5.6.7 has them in UTC
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def seconds(text: str) -> float | None:
    """Seconds in a duration such as `17s` or `0.5s`, as Google's APIs write it."""
    found = re.fullmatch(r"([0-9.]+)s", text)
    return _number(found[1]) if found else None


def _tell(limiter: Limiter, turn: Turn, error: RateLimitedError | TransientError | None) -> None:
    match error:
        case RateLimitedError(retry_after=after):
            limiter.refused(turn, after)
        case TransientError():
            limiter.disturbed(turn)
        case None:
            return


def _seen_as(error: Exception) -> RateLimitedError | TransientError | None:
    """The error as one that may be tried again, or None."""
    if isinstance(error, (RateLimitedError, TransientError)):
        return error
    if isinstance(error, (ConnectionError, TimeoutError)):  # of a model that does not translate its errors
        return TransientError(str(error))
    return None


def note_attempts(error: Exception, attempts: int) -> None:
    """On the error itself, where the dead letters look for it; some classes take no attributes."""
    with suppress(AttributeError, TypeError):
        error.attempts = attempts  # pyright: ignore[reportAttributeAccessIssue]  # errors of any library


async def _wait(duration: float, draining: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + duration
    while (left := until - loop.time()) > 0 and not draining():
        await asyncio.sleep(min(left, _GLANCE))


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None

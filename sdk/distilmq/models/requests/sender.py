"""What a model has that sends requests over a network, whatever it asks for: limits, retries, an event loop."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, Field, PositiveInt, PrivateAttr, SecretStr

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.requests import sending
from distilmq.models.requests.concurrency import START, AdaptiveLimit
from distilmq.models.requests.demand import demand
from distilmq.models.requests.event_loop import EventLoopThread
from distilmq.models.requests.lending import Borrower, desk
from distilmq.models.requests.limiter import Limiter
from distilmq.models.requests.rates import Limits, Pace
from distilmq.models.requests.retries import MAX_RETRIES, RetryPolicy
from distilmq.models.requests.server_queue import watch

_making_channel = threading.Lock()


class Sender(BaseModel, ABC):
    """A model whose requests go out together, within the limits of its account."""

    max_retries: RuntimeParameter[int] = Field(
        default=MAX_RETRIES, ge=0, description="The maximum number of times to retry a request before failing."
    )
    max_concurrency: RuntimeParameter[PositiveInt] | None = Field(
        default=None, description="The maximum number of requests that are sent at once; learnt when not given."
    )
    requests_per_minute: RuntimeParameter[PositiveInt] | None = Field(
        default=None, description="The number of requests that the account may send in a minute."
    )
    input_tokens_per_minute: RuntimeParameter[PositiveInt] | None = Field(
        default=None, description="The number of tokens in prompts that the account may send in a minute."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset(
        {"max_concurrency", "max_retries", "requests_per_minute", "input_tokens_per_minute"}
    )
    process_bound: ClassVar[frozenset[str]] = frozenset({"_channel"})

    _logger: logging.Logger = PrivateAttr(default_factory=lambda: logging.getLogger("distilmq.model"))
    _channel: sending.Way | None = PrivateAttr(default=None)

    @property
    @abstractmethod
    def model_name(self) -> str:
        """The model's name, as rows carry it."""
        ...

    @property
    def requests_at_once(self) -> int:
        """As told; where it is learnt, what it begins with."""
        return self._told_concurrency() or START

    async def aclose(self) -> None:
        """Closes clients that belong to the event loop; an override need not call `super().aclose()`."""

    def account(self) -> bytes | None:
        """What names the account whose limits hold: provider, address, key and model; None for an engine of our own."""
        address, key = self._whose()
        secret = key.get_secret_value() if isinstance(key, SecretStr) else str(key)
        parts = (type(self).__name__, str(address), secret, self.model_name)
        return hashlib.sha256(repr(parts).encode()).digest()

    def _whose(self) -> tuple[Any, Any]:
        """Address and key of the account."""
        places = (getattr(self, name, None) for name in ("base_url", "endpoint", "host"))
        return next((place for place in places if place), ""), getattr(self, "api_key", None)

    def _own_channel(self) -> sending.Way:
        with _making_channel:  # a worker calls `process` on one thread per batch
            if self._channel is None:
                policy = RetryPolicy(max_retries=MAX_RETRIES if self.max_retries is None else self.max_retries)
                self._channel = self._make_channel(policy)
            return self._channel

    def _make_channel(self, policy: RetryPolicy) -> sending.Way:
        loop = self._make_loop()
        limiter = self._make_limiter()
        if self._told_concurrency() is None and (url := self._metrics_url()) is not None:
            loop.submit(watch(url, limiter, name=self.model_name, log=self._logger))
        return sending.Channel(loop, limiter, policy, self._make_borrower(limiter, loop))

    def _make_loop(self) -> EventLoopThread:
        return EventLoopThread(f"llm-{self.model_name}"[:60])

    def _metrics_url(self) -> str | None:
        """Where the server says how many requests wait in its queue; None where it does not."""
        return None

    def _close_channel(self) -> None:
        """Closes the event loop, after what `aclose` closes on it."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close(self.aclose)

    def _make_limiter(self) -> Limiter:
        told = self._told_concurrency()
        return Limiter(
            AdaptiveLimit() if told is None else AdaptiveLimit(told, told),
            Pace(self._told_limits(), time.monotonic()),
            name=self.model_name,
            log=self._logger,
            demand=demand,
        )

    def _make_borrower(self, limiter: Limiter, loop: EventLoopThread) -> Borrower | None:
        """Who sees to our share where others use the account, too; None where nobody lends."""
        account = self.account()
        if not desk.lends or account is None:
            return None
        return Borrower(account, self._told_concurrency(), limiter, desk, loop.loop)

    def _told_limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.input_tokens_per_minute, None)

    def _told_concurrency(self) -> int | None:
        """The most requests at once; None where it is to be learnt."""
        return self.max_concurrency

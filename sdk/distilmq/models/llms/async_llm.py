"""Language models that are asked one input at a time: requests go out together, each fails or comes back by itself."""

from __future__ import annotations

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

from pydantic import Field, PositiveInt, PrivateAttr, SecretStr

from distilmq.errors import (
    RequestsFailedError,
)
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.llm import LLM, MAX_NEW_TOKENS
from distilmq.models.requests import sending
from distilmq.models.requests.answers import (
    current_answers,
    failed_requests,
    row_of,
)
from distilmq.models.requests.concurrency import START, AdaptiveLimit
from distilmq.models.requests.demand import demand
from distilmq.models.requests.event_loop import EventLoopThread
from distilmq.models.requests.lending import Borrower, Loan, desk
from distilmq.models.requests.limiter import Limiter
from distilmq.models.requests.meter import Meter, current_meter
from distilmq.models.requests.rates import NOTHING, Cost, Limits, Pace
from distilmq.models.requests.retries import MAX_RETRIES, RetryPolicy
from distilmq.typing import FormattedInput, GenerateOutput

CHARACTERS_PER_TOKEN = 4.0
"""Of English text, roughly; an answer's own count corrects it."""
USUAL_OUTPUT = 256.0
"""Tokens of an answer whose bound is not known."""

_making_channel = threading.Lock()


class AsyncLLM(LLM, ABC):
    """A language model that is asked one input at a time, many of them at once.

    Attributes:
        max_retries: how often a request is tried again that was rate limited or met a passing fault.
        max_concurrency: how many requests are out at once at most, over all batches in hand. Where it is not given,
            the limit is learnt: it begins at 32, grows to 256 at most, and shrinks when the provider refuses.
        requests_per_minute: of the account. Where it is not given, it is learnt from the provider.
        input_tokens_per_minute: of the account, in prompts.
        output_tokens_per_minute: of the account, in answers.
    """

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
    output_tokens_per_minute: RuntimeParameter[PositiveInt] | None = Field(
        default=None, description="The number of tokens in answers that the account may get in a minute."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "max_concurrency",
            "max_retries",
            "requests_per_minute",
            "input_tokens_per_minute",
            "output_tokens_per_minute",
        }
    )
    process_bound: ClassVar[frozenset[str]] = frozenset({"_channel"})
    concurrent_batches: ClassVar[bool] = True

    _num_generations_param_supported: bool = True
    """Whether `agenerate` takes `num_generations`; otherwise it is called as often."""
    _channel: sending.Channel | None = PrivateAttr(default=None)

    @abstractmethod
    async def agenerate(self, input: Any, *args: Any, **kwargs: Any) -> GenerateOutput:
        """Answers one input.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            args: none; they stand for whatever an override takes.
            kwargs: `num_generations` (where it is supported), and as `generation_kwargs`.
        """
        ...

    def generate(self, inputs: list[Any], num_generations: int = 1, **kwargs: Any) -> Sequence[GenerateOutput]:
        """Answers each input by a request (or several) of its own.

        Raises:
            RequestError: the only input's request failed (or what else it raised).
            RequestsFailedError: requests of some inputs failed; the others' answers are kept.
            StepFatalError: the provider refuses all requests.
            DrainedError: the worker drains and some requests were not sent; the others' answers are kept.
        """
        kwargs = self.own_kwargs(kwargs)
        per_request, times = (num_generations, 1) if self._num_generations_param_supported else (1, num_generations)
        asked = {**kwargs, "num_generations": per_request} if self._num_generations_param_supported else kwargs
        remembered = current_answers.get() is not None or failed_requests.get() is not None
        keys = self.keys_of(inputs, per_request, kwargs) if remembered else [b""] * len(inputs)
        estimate = self._estimate(kwargs)
        meter = current_meter.get()
        requests = [
            sending.Request(
                place, row_of(place), keys[place], partial(_ask, self, input, asked, meter), estimate(input)
            )
            for place, input in enumerate(inputs)
            for _ in range(times)
        ]
        outcomes = sending.send(requests, self._own_channel())
        return self._merged(len(inputs), zip(requests, outcomes, strict=True))

    def generate_outputs(
        self, inputs: list[FormattedInput], num_generations: int = 1, **kwargs: Any
    ) -> Sequence[GenerateOutput]:
        """Answers each input; `generate` sees to the answers that the batch has."""
        self._refuse_offline()
        return self.generate(inputs, num_generations=num_generations, **kwargs)

    def unload(self) -> None:
        """Closes the event loop, after what `aclose` closes on it."""
        channel, self._channel = self._channel, None
        if channel is not None:
            try:
                channel.loop.run(self.aclose())
            finally:
                if channel.borrower is not None:
                    channel.borrower.close()
                channel.limiter.close()
                channel.loop.close()
        super().unload()

    @property
    def requests_at_once(self) -> int:
        """As told; where it is learnt, what it begins with."""
        return self._told_concurrency() or START

    async def aclose(self) -> None:
        """Closes clients that belong to the event loop; an override need not call `super().aclose()`."""

    def _own_channel(self) -> sending.Channel:
        with _making_channel:  # a worker calls `process` on one thread per batch
            if self._channel is None:
                loop = EventLoopThread(f"llm-{self.model_name}"[:60])
                policy = RetryPolicy(max_retries=MAX_RETRIES if self.max_retries is None else self.max_retries)
                limiter = self._make_limiter()
                self._channel = sending.Channel(loop, limiter, policy, self._make_borrower(limiter, loop))
            return self._channel

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
        """Who sees to our share where others use the account, too; None where nothing was told or nobody lends."""
        told = Loan(self._told_concurrency(), self._told_limits())
        account = self.account()
        if not desk.lends or account is None or told == Loan():
            return None
        return Borrower(account, told, limiter, desk, loop.loop)

    def account(self) -> bytes | None:
        """What names the account whose limits hold: provider, address, key and model; None for an engine of our own."""
        key: Any = getattr(self, "api_key", None)
        secret = key.get_secret_value() if isinstance(key, SecretStr) else str(key)
        places = (getattr(self, name, None) for name in ("base_url", "endpoint", "host"))
        address = next((place for place in places if place), "")
        parts = (type(self).__name__, str(address), secret, self.model_name)
        return hashlib.sha256(repr(parts).encode()).digest()

    def _told_limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.input_tokens_per_minute, self.output_tokens_per_minute)

    def _told_concurrency(self) -> int | None:
        """The most requests at once; None where it is to be learnt."""
        return self.max_concurrency

    def _estimate(self, kwargs: Mapping[str, Any]) -> Callable[[Any], Cost]:
        """What a request takes before its answer says so: counted only where tokens are limited."""
        if self.input_tokens_per_minute is None and self.output_tokens_per_minute is None:
            return lambda input: NOTHING
        most = kwargs.get(self._own_max_new_tokens() or MAX_NEW_TOKENS)
        output = float(most) if isinstance(most, int) else USUAL_OUTPUT
        return lambda input: Cost(len(str(input)) / CHARACTERS_PER_TOKEN, output)

    def _generation_function(self) -> Any:
        return type(self).agenerate

    def _merged(self, count: int, given: Iterable[tuple[sending.Request, sending.Outcome]]) -> list[GenerateOutput]:
        outputs: list[dict[str, Any] | None] = [None] * count
        failures: dict[int, Exception] = {}
        for request, outcome in given:
            if isinstance(outcome, Exception):
                failures.setdefault(request.place, outcome)
            else:
                outputs[request.place] = merged(outputs[request.place], outcome)
        if failures and count == 1:
            raise failures[0]
        if failures:
            raise RequestsFailedError(failures, inputs=count) from next(iter(failures.values()))
        return cast("list[GenerateOutput]", outputs)


async def _ask(llm: AsyncLLM, input: Any, kwargs: Mapping[str, Any], meter: Meter | None) -> Mapping[str, Any]:
    began = time.perf_counter()
    output = _as_output(await llm.agenerate(input, **kwargs))
    if meter is not None:
        # Here, not where it is kept: an answer that nobody waits for any more is paid for all the same.
        meter.count(llm.usage_of(output, time.perf_counter() - began))
    return output


def _as_output(given: Any) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return cast("Mapping[str, Any]", given)
    texts = list(cast("Iterable[str | None]", given))  # of a model written before statistics were part of it
    return {"generations": texts, "statistics": {"input_tokens": [0], "output_tokens": [0]}}


def merged(first: Mapping[str, Any] | None, second: Mapping[str, Any]) -> dict[str, Any]:
    """Two outputs for one input as one: generations and everything that comes per generation behind each other."""
    if first is None:
        return dict(second)
    together: dict[str, Any] = {}
    for name in dict.fromkeys((*first, *second)):
        one, other = first.get(name), second.get(name)
        if isinstance(one, Mapping) or isinstance(other, Mapping):
            together[name] = merged(cast("Mapping[str, Any]", one or {}), cast("Mapping[str, Any]", other or {}))
        else:
            together[name] = [*(one or []), *(other or [])]
    return together

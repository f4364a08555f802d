"""Language models: what a task asks, and what every provider's class builds on.

`LLM` is for engines that take a list of inputs at once (`generate`), `AsyncLLM` for those that are asked one input
at a time (`agenerate`): its requests go out together, within a bound, and each fails or comes back by itself.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

from pydantic import ConfigDict, Field, PositiveInt, PrivateAttr, SecretStr

from distilmq.errors import (
    DistilmqNotImplementedError,
    DistilmqUserError,
    DrainedError,
    RequestsFailedError,
)
from distilmq.mixins.runtime_parameters import RuntimeParameter, RuntimeParametersMixin
from distilmq.mixins.serialization import Serializable
from distilmq.mixins.signature import Signed, model_parts
from distilmq.models.requests import sending
from distilmq.models.requests.answers import (
    current_answers,
    decode_answer,
    encode_answer,
    failed_requests,
    request_key,
    row_of,
)
from distilmq.models.requests.concurrency import START, AdaptiveLimit
from distilmq.models.requests.demand import demand
from distilmq.models.requests.event_loop import EventLoopThread
from distilmq.models.requests.lending import Borrower, Loan, desk
from distilmq.models.requests.limiter import Limiter
from distilmq.models.requests.meter import Meter, current_meter, tokens_in
from distilmq.models.requests.prices import Listed, Prices, listed_cost, own_cost
from distilmq.models.requests.rates import NOTHING, Cost, Limits, Pace
from distilmq.models.requests.retries import MAX_RETRIES, RetryPolicy
from distilmq.protocol.usage import Usage
from distilmq.typing import FormattedInput, GenerateOutput, HiddenState, RuntimeParameterInfo
from distilmq.utils.docstring import described_parameters

MAX_NEW_TOKENS = "max_new_tokens"
_OTHER_NAMES = ("max_output_tokens", "max_tokens", "max_completion_tokens", "num_predict")
"""Providers' own names for the bound on generated tokens."""

CHARACTERS_PER_TOKEN = 4.0
"""Of English text, roughly; an answer's own count corrects it."""
USUAL_OUTPUT = 256.0
"""Tokens of an answer whose bound is not known."""

_making_channel = threading.Lock()


class LLM(RuntimeParametersMixin, Serializable, Signed, ABC):
    """A language model that takes a list of inputs at once.

    Attributes:
        generation_kwargs: arguments of `generate` (or `agenerate`) beside the inputs.
        prices: US dollars per million tokens, as `{"input": 2.5, "output": 10}`; by the provider's list when they are
            not given. They count what a run costs and change nothing else.
        use_offline_batch_generation: ask through the provider's batch jobs. Not in distilmq yet.
        offline_batch_generation_block_until_done: seconds between two looks at a batch job.
        jobs_ids: the batch jobs that were started.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        validate_default=True,
        validate_assignment=True,
        extra="forbid",
    )

    generation_kwargs: RuntimeParameter[dict[str, Any]] = Field(
        default_factory=dict[str, Any],
        description="The kwargs to be propagated to either `generate` or `agenerate` methods within each `LLM`.",
    )
    prices: RuntimeParameter[Prices] | None = Field(
        default=None,
        description='US dollars per million tokens, as `{"input": 2.5, "output": 10}`; else those that the provider'
        " lists.",
    )
    use_offline_batch_generation: RuntimeParameter[bool] = Field(
        default=False, description="Whether to use the `offline_batch_generate` method to generate the responses."
    )
    offline_batch_generation_block_until_done: RuntimeParameter[int] | None = Field(
        default=None, description="Seconds between two looks at the batch jobs until they are done."
    )
    jobs_ids: tuple[str, ...] | None = Field(default=None)

    operational_fields: ClassVar[frozenset[str]] = frozenset(
        {"jobs_ids", "offline_batch_generation_block_until_done", "prices", "use_offline_batch_generation"}
    )
    price_provider: ClassVar[str | None] = None
    """The provider, as `genai-prices` calls it, of a model that names no address of its API."""
    runs_here: ClassVar[bool] = False
    """The model runs in the process that asks it: its tokens cost nothing."""
    process_bound: ClassVar[frozenset[str]] = frozenset()
    """Private attributes that belong to this process (clients, engines): pickling leaves them out."""
    concurrent_batches: ClassVar[bool] = False
    """Whether it may be asked from several threads at once, one for each batch in hand."""

    _logger: logging.Logger = PrivateAttr(default_factory=lambda: logging.getLogger("distilmq.llm"))

    # ------------------------------------------------------------ life cycle

    def load(self) -> None:
        """Gets ready in the process that asks; an override calls `super().load()`."""
        self._logger = logging.getLogger(f"distilmq.llm.{self.model_name}")
        self.check_generation_kwargs()
        self.cost_of(0, 0)  # reads the list of prices, so that no answer has to wait for it

    def unload(self) -> None:
        """Gives back what `load` took."""

    # ------------------------------------------------------------ generation

    @property
    @abstractmethod
    def model_name(self) -> str:
        """The model's name, as rows carry it."""
        ...

    @abstractmethod
    def generate(self, inputs: list[Any], *args: Any, **kwargs: Any) -> Sequence[GenerateOutput]:
        """Answers each input.

        Args:
            inputs: conversations, texts, or pairs of one with the shape of its answer.
            args: none; they stand for whatever an override takes.
            kwargs: `num_generations` (answers per input), and as `generation_kwargs`.

        Returns:
            Per input `generations` and `statistics`, and whatever else the model gives for each generation.
        """
        ...

    def generate_outputs(
        self, inputs: list[FormattedInput], num_generations: int = 1, **kwargs: Any
    ) -> Sequence[GenerateOutput]:
        """Answers each input that the batch in hand has no answer to yet.

        Raises:
            DrainedError: the worker drains, so the model is not asked.
        """
        self._refuse_offline()
        kwargs = self.own_kwargs(kwargs)
        book = current_answers.get()
        if book is None:
            return self._generated(inputs, num_generations, kwargs)
        keys = self.keys_of(inputs, num_generations, kwargs)
        found = [book.find(row_of(place), key) for place, key in enumerate(keys)]
        outputs = [decode_answer(answer) if answer is not None else None for answer in found]
        missing = [place for place, output in enumerate(outputs) if output is None]
        if missing and book.draining():
            raise DrainedError(f"'{self.model_name}' is not asked, since the worker drains")
        if missing:
            given = self._generated([inputs[place] for place in missing], num_generations, kwargs)
            for place, output in zip(missing, given, strict=True):
                outputs[place] = cast("dict[str, Any]", output)
                if (answer := encode_answer(cast("Mapping[str, Any]", output))) is not None:
                    book.keep(row_of(place), keys[place], answer)
        return cast("list[GenerateOutput]", outputs)

    def get_last_hidden_states(self, inputs: list[Any]) -> list[HiddenState]:
        """The last hidden states for each input, where the engine shows them."""
        raise DistilmqNotImplementedError(
            f"Method `get_last_hidden_states` is not implemented for `{type(self).__name__}`."
        )

    # ------------------------------------------------------------ what it costs

    def cost_of(self, input_tokens: int, output_tokens: int) -> float | None:
        """US dollars of one request with these tokens; None when the model has no price that is known."""
        if self.prices is not None:
            return own_cost(self.prices, input_tokens, output_tokens)
        if self.runs_here:
            return 0.0
        return listed_cost(self._listed(), input_tokens, output_tokens)

    def usage_of(self, output: Mapping[str, Any], seconds: float) -> Usage:
        """What one answered request took; without tokens its price is not known.

        Args:
            output: as `generate` gives it for one input.
            seconds: that the answer took.
        """
        inputs, outputs = tokens_in(output)
        cost = self.cost_of(inputs, outputs)
        if not inputs and self.cost_of(1, 1):
            cost = None  # no prompt is empty: the server does not tell
        return Usage(
            model=self.model_name,
            requests=1,
            input_tokens=inputs,
            output_tokens=outputs,
            cost=cost or 0.0,
            unpriced=int(cost is None),
            seconds=seconds,
        )

    @property
    def requests_at_once(self) -> int:
        """How many requests are out at once: what estimates of time reckon with."""
        return 1

    def _listed(self) -> Listed:
        url = getattr(self, "base_url", None) or getattr(self, "endpoint", None)
        return Listed(self.model_name, str(url) if url else None, self.price_provider)

    def _generated(
        self, inputs: list[Any], num_generations: int, kwargs: Mapping[str, Any]
    ) -> Sequence[GenerateOutput]:
        """Answers of `generate`, counted."""
        began = time.perf_counter()
        given = self.generate(inputs, num_generations=num_generations, **kwargs)
        if (meter := current_meter.get()) is not None:
            seconds = (time.perf_counter() - began) / max(1, len(given))
            for output in given:
                meter.count(self.usage_of(cast("Mapping[str, Any]", output), seconds))
        return given

    # ------------------------------------------------------------ generation arguments

    def get_generation_kwargs(self) -> dict[str, Any]:
        """The arguments of `generate` that were set."""
        return self.generation_kwargs or {}

    def own_kwargs(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Generation arguments by the model's own names: `max_new_tokens` is understood by every model.

        Raises:
            DistilmqUserError: both it and the model's own name are given.
        """
        given = dict(kwargs)
        own = self._own_max_new_tokens()
        if MAX_NEW_TOKENS not in given or own is None or own == MAX_NEW_TOKENS:
            return given
        if own in given:
            raise DistilmqUserError(
                f"`generation_kwargs` of `{type(self).__name__}` give both `{MAX_NEW_TOKENS}` and `{own}`: they are two"
                " names of one parameter. Give one of them."
            )
        given[own] = given.pop(MAX_NEW_TOKENS)
        return given

    def check_generation_kwargs(self) -> None:
        """Raises DistilmqUserError if `generation_kwargs` name an argument that the model does not take."""
        parameters = self._generation_parameters()
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            return
        unknown = [name for name in self.own_kwargs(self.get_generation_kwargs()) if name not in parameters]
        if unknown:
            known = [name for name in parameters if name not in ("input", "inputs", "num_generations")]
            raise DistilmqUserError(
                f"`generation_kwargs` of `{type(self).__name__}` ('{self.model_name}') name {unknown}, which it does"
                f" not take. It takes: {known}."
            )

    def get_runtime_parameters_info(self) -> list[RuntimeParameterInfo]:
        """As of every model, with the generation arguments by name."""
        infos = super().get_runtime_parameters_info()
        described = described_parameters(self._generation_function())
        for info in infos:
            if info.get("name") == "generation_kwargs":
                info["keys"] = [
                    {
                        "name": name,
                        "optional": parameter.default is not inspect.Parameter.empty,
                        "description": described.get(name),
                    }
                    for name, parameter in self._generation_parameters().items()
                    if name not in ("input", "inputs", "num_generations")
                    and parameter.kind is not inspect.Parameter.VAR_KEYWORD
                ]
        return infos

    def keys_of(self, inputs: Sequence[Any], num_generations: int, kwargs: Mapping[str, Any]) -> list[bytes]:
        """Digest of each request: the model with its parameters of substance, the input and the arguments.

        Code is no part of it: changed code is another step, which has answers of its own.
        """
        model = {
            name: value
            for name, value in model_parts(self, "")
            if name != "generation_kwargs" and name.rpartition(".")[2] != "code"
        }
        common = {"model": model, "generations": num_generations, "kwargs": dict(kwargs)}
        return [request_key({**common, "input": input}) for input in inputs]

    def __getstate__(self) -> dict[Any, Any]:
        """What pickling keeps: nothing that belongs to this process."""
        state = super().__getstate__()
        bound = {name for base in type(self).__mro__ for name in base.__dict__.get("process_bound", frozenset[str]())}
        private = state.get("__pydantic_private__")
        if private is not None:
            defaults = type(self).__private_attributes__
            state["__pydantic_private__"] = {
                name: defaults[name].get_default() if name in bound else value for name, value in private.items()
            }
        return state

    def _generation_function(self) -> Any:
        return type(self).generate

    def _generation_parameters(self) -> dict[str, inspect.Parameter]:
        parameters = inspect.signature(self._generation_function()).parameters
        return {name: parameter for name, parameter in parameters.items() if name != "self"}

    def _own_max_new_tokens(self) -> str | None:
        """The model's own name for the bound on generated tokens; None where it is not known."""
        parameters = self._generation_parameters()
        return next((name for name in (MAX_NEW_TOKENS, *_OTHER_NAMES) if name in parameters), None)

    def _refuse_offline(self) -> None:
        if self.use_offline_batch_generation:
            raise DistilmqNotImplementedError("`use_offline_batch_generation` is not in distilmq yet")


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


__all__ = ["LLM", "AsyncLLM", "FormattedInput", "GenerateOutput"]

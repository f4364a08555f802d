"""Language models that take a list of inputs at once, and what is common to all of them."""

from __future__ import annotations

import inspect
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast, get_type_hints

from pydantic import ConfigDict, Field, PositiveInt, PrivateAttr, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from distilmq.errors import (
    DistilmqNotImplementedError,
    DistilmqUserError,
    DrainedError,
)
from distilmq.mixins.process_bound import without_process_bound
from distilmq.mixins.runtime_parameters import RuntimeParameter, RuntimeParametersMixin
from distilmq.mixins.serialization import Serializable
from distilmq.mixins.signature import Signed, model_parts
from distilmq.models.llms.utils import as_output
from distilmq.models.requests.answers import AnswerBook, current_answers, request_key
from distilmq.models.requests.lookup import Lookup
from distilmq.models.requests.meter import current_meter, tokens_in
from distilmq.models.requests.prices import Listed, Prices, listed_cost, own_cost
from distilmq.protocol.usage import Usage
from distilmq.typing import FormattedInput, GenerateOutput, HiddenState, RuntimeParameterInfo
from distilmq.utils.docstring import described_parameters

MAX_NEW_TOKENS = "max_new_tokens"
_OTHER_NAMES = ("max_output_tokens", "max_tokens", "max_completion_tokens", "num_predict")
"""Providers' own names for the bound on generated tokens."""


class LLM(RuntimeParametersMixin, Serializable, Signed, ABC):
    """A language model that takes a list of inputs at once.

    Attributes:
        generation_kwargs: arguments of `generate` (or `agenerate`) beside the inputs.
        prices: US dollars per million tokens, as `{"input": 2.5, "output": 10}`; by the provider's list when they are
            not given. They count what a run costs and change nothing else.
        use_offline_batch_generation: ask through the provider's batch jobs, which cost less and take up to a day.
        offline_batch_generation_block_until_done: seconds between two looks at a batch job; 60 when not given.
        offline_batch_generation_requests: most requests in a batch job, and in hand at once; as many as the provider
            takes, and 50,000 in hand, when not given.
        offline_batch_generation_cancel_on_stop: cancel the batch jobs when the run is stopped; otherwise they go on,
            and the next run collects their answers.
        jobs_ids: the batch jobs that were started, as the provider calls them, where no pipeline runs the model.
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
    offline_batch_generation_block_until_done: RuntimeParameter[PositiveInt] | None = Field(
        default=None, description="Seconds between two looks at the batch jobs until they are done."
    )
    offline_batch_generation_requests: RuntimeParameter[PositiveInt] | None = Field(
        default=None, description="The maximum number of requests in one batch job, and in hand at once."
    )
    offline_batch_generation_cancel_on_stop: RuntimeParameter[bool] = Field(
        default=False, description="Whether to cancel the batch jobs when the run is stopped."
    )
    jobs_ids: tuple[str, ...] | None = Field(default=None)

    operational_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "jobs_ids",
            "offline_batch_generation_block_until_done",
            "offline_batch_generation_cancel_on_stop",
            "offline_batch_generation_requests",
            "prices",
            "use_offline_batch_generation",
        }
    )
    price_provider: ClassVar[str | None] = None
    """The provider, as `genai-prices` calls it, of a model that names no address of its API."""
    runs_here: ClassVar[bool] = False
    """The model runs in the process that asks it: its tokens cost nothing."""
    process_bound: ClassVar[frozenset[str]] = frozenset()
    """Private attributes that belong to this process (clients, engines): pickling leaves them out."""
    offline_batches: ClassVar[bool] = False
    """Whether its provider has batch jobs that it can be asked through."""
    concurrent_batches: ClassVar[bool] = False
    """Whether it may be asked from several threads at once, one for each batch in hand."""

    _logger: logging.Logger = PrivateAttr(default_factory=lambda: logging.getLogger("distilmq.llm"))

    # ------------------------------------------------------------ life cycle

    def load(self) -> None:
        """Gets ready in the process that asks; an override calls `super().load()`."""
        self._logger = logging.getLogger(f"distilmq.llm.{self.model_name}")
        self.check_offline_batches()
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
        self.check_offline_batches()
        kwargs = self.own_kwargs(kwargs)
        book = current_answers.get()
        if book is None:
            return self._generated(inputs, num_generations, kwargs)
        lookup = Lookup(book, self.keys_of(inputs, num_generations, kwargs))
        if missing := lookup.missing:
            given = self._generated_unless_draining(book, [inputs[place] for place in missing], num_generations, kwargs)
            for place, output in zip(missing, given, strict=True):
                lookup.came(place, cast("Mapping[str, Any]", output))
        self._ask_anew(book, lookup, inputs, kwargs)
        lookup.tell_sources()
        return cast("list[GenerateOutput]", lookup.outputs)

    def offline_batch_generate(
        self, inputs: list[FormattedInput], num_generations: int = 1, **kwargs: Any
    ) -> Sequence[GenerateOutput]:
        """Answers each input through the provider's batch jobs, and waits until they are over.

        Raises:
            DistilmqNotImplementedError: its provider has no batch jobs that it could be asked through.
            DistilmqUserError: the model was not made with `use_offline_batch_generation=True`.
        """
        if not self.offline_batches:
            raise self._no_batch_jobs()
        if not self.use_offline_batch_generation:
            raise DistilmqUserError(
                f"`{type(self).__name__}` asks one request at a time: make it with `use_offline_batch_generation=True`"
            )
        return self.generate_outputs(inputs, num_generations=num_generations, **kwargs)

    def get_last_hidden_states(self, inputs: list[Any]) -> list[HiddenState]:
        """The last hidden states for each input, where the engine shows them."""
        raise DistilmqNotImplementedError(
            f"Method `get_last_hidden_states` is not implemented for `{type(self).__name__}`."
        )

    # ------------------------------------------------------------ what it costs

    @property
    def billed_models(self) -> list[LLM]:
        """The models whose requests are counted when this one is asked: itself, or those that it asks."""
        return [self]

    def cost_of(self, input_tokens: int, output_tokens: int) -> float | None:
        """US dollars of one request with these tokens; None when the model has no price that is known."""
        if self.prices is not None:
            return own_cost(self.prices, input_tokens, output_tokens)
        if self.runs_here:
            return 0.0
        return listed_cost(self._listed(), input_tokens, output_tokens, batch=bool(self.use_offline_batch_generation))

    def usage_of(self, output: Mapping[str, Any], seconds: float) -> Usage:
        """What one answered request took; without tokens its price is not known.

        Args:
            output: as `generate` gives it for one input.
            seconds: that the answer took.
        """
        tokens = tokens_in(output)
        cost = self.cost_of(tokens.input or 0, tokens.output or 0)
        if None in (tokens.input, tokens.output) and self.cost_of(1, 1):
            cost = None
        return Usage(
            model=self.model_name,
            requests=1,
            input_tokens=tokens.input or 0,
            output_tokens=tokens.output or 0,
            input_untold=int(tokens.input is None),
            output_untold=int(tokens.output is None),
            cost=cost or 0.0,
            unpriced=int(cost is None),
            seconds=seconds,
        )

    @property
    def shapes_answers(self) -> bool:
        """Whether its answers can be given a shape, by its field `structured_output`."""
        return "structured_output" in type(self).model_fields

    @property
    def requests_at_once(self) -> int:
        """How many requests are out at once: what estimates of time reckon with."""
        return 1

    def _listed(self) -> Listed:
        url = getattr(self, "base_url", None) or getattr(self, "endpoint", None)
        return Listed(self.model_name, str(url) if url else None, self.price_provider)

    def _ask_anew(self, book: AnswerBook, lookup: Lookup, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Asks for those generations of known answers that were of no use."""
        keys = self.keys_of([inputs[place] for place, _ in lookup.lost], 1, kwargs)
        lost = [(*each, key) for each, key in zip(lookup.lost, keys, strict=True)]
        lost = [(place, generation, key) for place, generation, key in lost if not lookup.find(place, key, generation)]
        if lost:
            given = self._generated_unless_draining(book, [inputs[place] for place, _, _ in lost], 1, kwargs)
            for (place, generation, key), output in zip(lost, given, strict=True):
                lookup.came_anew(place, key, generation, cast("Mapping[str, Any]", output))

    def _generated_unless_draining(
        self, book: AnswerBook, inputs: list[Any], num_generations: int, kwargs: Mapping[str, Any]
    ) -> Sequence[GenerateOutput]:
        if book.draining():
            raise DrainedError(f"'{self.model_name}' is not asked, since the worker drains")
        return self._generated(inputs, num_generations, kwargs)

    def _generated(
        self, inputs: list[Any], num_generations: int, kwargs: Mapping[str, Any]
    ) -> Sequence[GenerateOutput]:
        """Answers of `generate`, counted."""
        began = time.perf_counter()
        made = self.generate(inputs, num_generations=num_generations, **kwargs)
        given = [as_output(output, f"`generate` of `{type(self).__name__}`") for output in made]
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
        """Raises DistilmqUserError if `generation_kwargs` name an argument or give a value that it does not take."""
        self._check_values()
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

    def _check_values(self) -> None:
        """Raises DistilmqUserError if a value has not the type of its argument, where pydantic holds calls to that."""
        function = getattr(self._generation_function(), "raw_function", None)  # what `validate_call` was put around
        if function is None:
            return
        types = get_type_hints(function, include_extras=True)
        for name, value in self.own_kwargs(self.get_generation_kwargs()).items():
            try:
                TypeAdapter(types.get(name, Any)).validate_python(value)
            except PydanticSchemaGenerationError:  # a type that only the call's own configuration knows
                continue
            except ValidationError as error:
                raise DistilmqUserError(
                    f"`generation_kwargs` of `{type(self).__name__}` ('{self.model_name}') give `{name}` the value"
                    f" {value!r}, which it does not take: {error.errors()[0]['msg']}."
                ) from error

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
        return without_process_bound(type(self), super().__getstate__())

    def _generation_function(self) -> Any:
        return type(self).generate

    def _generation_parameters(self) -> dict[str, inspect.Parameter]:
        parameters = inspect.signature(self._generation_function()).parameters
        return {name: parameter for name, parameter in parameters.items() if name != "self"}

    def _own_max_new_tokens(self) -> str | None:
        """The model's own name for the bound on generated tokens; None where it is not known."""
        parameters = self._generation_parameters()
        return next((name for name in (MAX_NEW_TOKENS, *_OTHER_NAMES) if name in parameters), None)

    @property
    def waits_for_jobs(self) -> bool:
        """Whether it is asked through batch jobs, so that many rows are to be in hand at once."""
        return bool(self.use_offline_batch_generation)

    def check_offline_batches(self) -> None:
        """Raises DistilmqNotImplementedError if batch jobs are wanted and its provider has none."""
        if self.use_offline_batch_generation and not self.offline_batches:
            raise self._no_batch_jobs()

    def _no_batch_jobs(self) -> DistilmqNotImplementedError:
        return DistilmqNotImplementedError(
            f"`offline_batch_generate` is not implemented for `{type(self).__name__}`: its provider's batch jobs cannot"
            " be used. Leave `use_offline_batch_generation` out, or ask through `OpenAILLM`, `AnthropicLLM` or"
            " `MistralLLM`.",
            page="how-to/offline-batches.md",
        )

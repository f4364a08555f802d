"""Language models that are asked one input at a time: requests go out together, each fails or comes back by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from pydantic import Field, PositiveInt

from distilmq.errors import RequestsFailedError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.batches.channel import JobChannel
from distilmq.models.batches.desk import LOOK_EVERY, DeskSettings, JobDesk
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.llms.asking import Asking
from distilmq.models.llms.llm import LLM, MAX_NEW_TOKENS
from distilmq.models.llms.unanswered import with_errors
from distilmq.models.requests import sending
from distilmq.models.requests.answers import current_answers
from distilmq.models.requests.generations import Outcome, Output
from distilmq.models.requests.rates import NOTHING, Cost, Limits
from distilmq.models.requests.retries import RetryPolicy
from distilmq.models.requests.sender import Sender
from distilmq.models.requests.sources import Generation, traced
from distilmq.models.requests.usage import statistics
from distilmq.typing import FormattedInput, GenerateOutput

CHARACTERS_PER_TOKEN = 4.0
"""Of English text, roughly; an answer's own count corrects it."""
MOST_IN_JOBS = 50_000
"""Requests that are in batch jobs, or wait for the next one, at once."""
USUAL_OUTPUT = 256.0
"""Tokens of an answer whose bound is not known."""
_OF_EACH = ("errors", "generations", "statistics")
"""Parts that every output has, or gets."""


class AsyncLLM(Sender, LLM, ABC):
    """A language model that is asked one input at a time, many of them at once.

    Attributes:
        max_retries: how often a request is tried again that was rate limited or met a passing fault.
        max_concurrency: how many requests are out at once at most, over all batches in hand. Where it is not given,
            the limit is learnt: it begins at 32, grows to 256 at most, and shrinks when the provider refuses.
        requests_per_minute: of the account. Where it is not given, it is learnt from the provider.
        input_tokens_per_minute: of the account, in prompts.
        output_tokens_per_minute: of the account, in answers.
    """

    output_tokens_per_minute: RuntimeParameter[PositiveInt] | None = Field(
        default=None, description="The number of tokens in answers that the account may get in a minute."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"output_tokens_per_minute"})
    concurrent_batches: ClassVar[bool] = True

    _num_generations_param_supported: bool = True
    """Whether `agenerate` takes `num_generations`; otherwise it is called as often."""

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
        several = self._num_generations_param_supported
        asking = Asking.of(self, kwargs, self._estimate(kwargs), several=several, inputs=len(inputs))
        requests = asking.requests(inputs, num_generations)
        given = list(zip(requests, self._outcomes(inputs, requests, asking), strict=True))
        _tell_sources(given)
        return self._merged(len(inputs), given)

    def _outcomes(self, inputs: Sequence[Any], requests: Sequence[sending.Request], asking: Asking) -> list[Outcome]:
        """What becomes of each request."""
        return sending.send(requests, self._own_channel())

    def generate_outputs(
        self, inputs: list[FormattedInput], num_generations: int = 1, **kwargs: Any
    ) -> Sequence[GenerateOutput]:
        """Answers each input; `generate` sees to the answers that the batch has."""
        return self.generate(inputs, num_generations=num_generations, **kwargs)

    def unload(self) -> None:
        """Closes the event loop, after what `aclose` closes on it."""
        self._close_channel()
        super().unload()

    def _make_channel(self, policy: RetryPolicy) -> sending.Way:
        if not self.use_offline_batch_generation:
            return super()._make_channel(policy)
        provider = self._batch_provider()
        if provider is None:
            raise self._no_batch_jobs()
        most = self.offline_batch_generation_requests
        settings = DeskSettings(
            look_every=self.offline_batch_generation_block_until_done or LOOK_EVERY,
            most_requests=most,
            cancels=bool(self.offline_batch_generation_cancel_on_stop),
            policy=policy,
        )
        job_desk = JobDesk(provider, settings, model=self.model_name, log=self._logger)
        return JobChannel(self._make_loop(), job_desk, most=most or MOST_IN_JOBS, begun=self._note_job)

    def _batch_provider(self) -> BatchProvider | None:
        """The provider's batch API, for a model that is loaded; None where there is none."""
        return None

    def _note_job(self, id: str) -> None:
        self.jobs_ids = (*(self.jobs_ids or ()), id)

    def _told_limits(self) -> Limits:
        return replace(super()._told_limits(), output_tokens=self.output_tokens_per_minute)

    def _estimate(self, kwargs: Mapping[str, Any]) -> Callable[[Any], Cost]:
        """What a request takes before its answer says so: counted only where tokens are limited."""
        if self.input_tokens_per_minute is None and self.output_tokens_per_minute is None:
            return lambda input: NOTHING
        most = kwargs.get(self._own_max_new_tokens() or MAX_NEW_TOKENS)
        output = float(most) if isinstance(most, int) else USUAL_OUTPUT
        return lambda input: Cost(len(str(input)) / CHARACTERS_PER_TOKEN, output)

    def _generation_function(self) -> Any:
        return type(self).agenerate

    def _merged(self, count: int, given: Iterable[tuple[sending.Request, Outcome]]) -> list[GenerateOutput]:
        outcomes: list[list[Outcome]] = [[] for _ in range(count)]
        for request, outcome in given:
            outcomes[request.place].append(outcome)
        together = [_together(each, f"'{self.model_name}'") for each in outcomes]
        failures = {place: outcome for place, outcome in enumerate(together) if isinstance(outcome, Exception)}
        if failures and count == 1:
            raise failures[0]
        if failures:
            raise RequestsFailedError(failures, inputs=count) from next(iter(failures.values()))
        return cast("list[GenerateOutput]", together)


def _tell_sources(given: Iterable[tuple[sending.Request, Outcome]]) -> None:
    """The batch's book is told which answers each generation was made of."""
    if (book := current_answers.get()) is None:
        return
    rows: defaultdict[int, list[Generation]] = defaultdict(list)
    for request, outcome in given:
        rows[request.row] += traced(request.used, outcome)
    for row, generations in rows.items():
        book.gave(row, generations)


def _together(outcomes: Sequence[Outcome], who: str) -> Outcome:
    """Of the requests for one input, one for each generation or one for all: what they gave, or why that is nothing.

    A generation that failed takes none along that was answered: it is None, with its error.
    """
    answers = [with_errors(outcome, who) for outcome in outcomes if not isinstance(outcome, Exception)]
    if not answers:
        return next(outcome for outcome in outcomes if isinstance(outcome, Exception))
    parts = [name for name in dict.fromkeys(name for answer in answers for name in answer) if name not in _OF_EACH]
    whole = iter(answers)
    lost = [_lost(outcome, parts) if isinstance(outcome, Exception) else next(whole) for outcome in outcomes]
    if any("errors" in output for output in lost):
        lost = [{**output, "errors": output.get("errors", [None] * len(output["generations"]))} for output in lost]
    output: Output | None = None
    for each in lost:
        output = merged(output, each)
    return cast("Output", output)


def _lost(error: Exception, parts: Iterable[str]) -> Output:
    """Stands for a generation that failed, among others that came.

    Args:
        error: why it failed.
        parts: what the others have beside text; it has to keep its place in them.
    """
    nothing = {part: [None] for part in parts}
    return {**nothing, "generations": [None], "statistics": statistics(None, None, 1), "errors": [error]}


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

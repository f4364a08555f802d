"""Several models that answer together.

After Wang et al. 2024, "Mixture-of-Agents Enhances Large Language Model Capabilities",
https://arxiv.org/abs/2406.04692: in each round every proposer answers, from the second round on with the answers of the
round before at hand, and an aggregator makes one answer of the last round's.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from pydantic import Field, PositiveInt

from distilmq.errors import DistilmqUserError, DrainedError, RequestError, RequestsFailedError, StepFatalError
from distilmq.models.llms.llm import LLM
from distilmq.models.llms.utils import as_messages, split_input
from distilmq.models.requests.answers import current_answers
from distilmq.models.requests.demand import expected
from distilmq.models.requests.shared_book import SharedBook
from distilmq.typing import FormattedInput, GenerateOutput, RuntimeParametersNames

TOGETHER = (
    "Other assistants have answered what the user last said; their answers stand below. Write the best answer that you"
    " can. Use what is right and helpful in theirs, check what they claim, and leave out what is wrong, one-sided or"
    " beside the point: any of them may be mistaken. Answer the user directly, in an order that is easy to follow, and"
    " do not speak of the other answers or of how yours came about."
)

_Ask = Callable[[], Sequence[GenerateOutput]]


class MixtureOfAgentsLLM(LLM):
    """Asks several models, and has one make a single answer of theirs.

    A row fails when one of the models fails on it; what the others said is recorded, and is not paid for again. Each
    request is limited, tried again and counted as that of the model that it goes to.

    Attributes:
        aggregator_llm: makes the answer; it is asked for `num_generations`.
        proposers_llms: answer first, once each in every round, all at the same time.
        rounds: how often the proposers answer; each time but the first they see all answers of the round before.

    Examples:
        ```python
        from distilmq.models import AnthropicLLM, MixtureOfAgentsLLM, OpenAILLM

        llm = MixtureOfAgentsLLM(
            aggregator_llm=OpenAILLM(model="gpt-4o"),
            proposers_llms=[OpenAILLM(model="gpt-4o-mini"), AnthropicLLM(model="claude-haiku-4-5")],
            rounds=2,
        )
        llm.load()
        [output] = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]])
        llm.unload()
        ```
    """

    aggregator_llm: LLM
    proposers_llms: list[LLM] = Field(default_factory=list[LLM], min_length=1)
    rounds: PositiveInt = 1

    @property
    def concurrent_batches(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # it follows from others
        """Whether all its models may be asked from several threads at once."""
        return all(llm.concurrent_batches for llm in self._llms)

    @property
    def waits_for_jobs(self) -> bool:
        """Whether one of its models is asked through batch jobs."""
        return any(llm.waits_for_jobs for llm in self._llms)

    @property
    def requests_at_once(self) -> int:
        """Of all its proposers together."""
        return sum(llm.requests_at_once for llm in self.proposers_llms)

    @property
    def model_name(self) -> str:
        """The names of the models, the aggregator's first."""
        return "-".join(["moa", *(llm.model_name for llm in self._llms)])

    @property
    def runtime_parameters_names(self) -> RuntimeParametersNames:
        """Those of its models, and its own but for `generation_kwargs`: each model has them."""
        names = super().runtime_parameters_names
        names.pop("generation_kwargs", None)
        return names

    @property
    def billed_models(self) -> list[LLM]:
        """Its models, each by its own prices."""
        return [model for llm in self._llms for model in llm.billed_models]

    @property
    def _llms(self) -> list[LLM]:
        return [self.aggregator_llm, *self.proposers_llms]

    def load(self) -> None:
        """Loads all models."""
        self.check_generation_kwargs()
        self.check_offline_batches()
        for llm in self._llms:
            llm.load()

    def unload(self) -> None:
        """Unloads all models."""
        for llm in self._llms:
            llm.unload()

    def check_generation_kwargs(self) -> None:
        """Raises DistilmqUserError if one of its models does not take its `generation_kwargs`, or if it has any."""
        if self.generation_kwargs:
            raise DistilmqUserError(
                f"`generation_kwargs` of `MixtureOfAgentsLLM` name {list(self.generation_kwargs)}: it asks others. Give"
                " them to its `aggregator_llm` and its `proposers_llms`."
            )
        for llm in self._llms:
            llm.check_generation_kwargs()

    def get_generation_kwargs(self) -> dict[str, Any]:
        """The arguments of each model."""
        return {
            "aggregator_llm": self.aggregator_llm.get_generation_kwargs(),
            "proposers_llms": [llm.get_generation_kwargs() for llm in self.proposers_llms],
        }

    def generate_outputs(
        self, inputs: list[FormattedInput], num_generations: int = 1, **kwargs: Any
    ) -> Sequence[GenerateOutput]:
        """Answers each input; its models see to the answers that the batch has."""
        self.check_offline_batches()
        return self.generate(inputs, num_generations=num_generations, **kwargs)

    def generate(  # pyright: ignore[reportIncompatibleMethodOverride]  # its own arguments
        self,
        inputs: list[FormattedInput],
        num_generations: int = 1,
        aggregator_llm: dict[str, Any] | None = None,
        proposers_llms: list[dict[str, Any]] | None = None,
    ) -> Sequence[GenerateOutput]:
        """Answers each input.

        Args:
            inputs: conversations, texts, or pairs of one with the shape of its answer, which the aggregator gives.
            num_generations: answers per input.
            aggregator_llm: generation arguments of the aggregator.
            proposers_llms: generation arguments of each proposer.

        Raises:
            RequestError: a model failed on the only input.
            RequestsFailedError: a model failed on some inputs.
            StepFatalError: a provider refuses all requests.
            DrainedError: the worker drains and some requests were not sent.
        """
        proposals: list[list[str]] = [[] for _ in inputs]
        for _ in range(self.rounds):
            proposals = self._round(inputs, proposals, proposers_llms or [{} for _ in self.proposers_llms])
        asked = [with_proposals(input, given) for input, given in zip(inputs, proposals, strict=True)]
        return self.aggregator_llm.generate_outputs(asked, num_generations=num_generations, **(aggregator_llm or {}))

    def _round(
        self, inputs: Sequence[FormattedInput], before: Sequence[list[str]], kwargs: Sequence[Mapping[str, Any]]
    ) -> list[list[str]]:
        """Per input, what each proposer says."""
        asked = [with_proposals(split_input(input)[0], given) for input, given in zip(inputs, before, strict=True)]

        def ask(llm: LLM, options: Mapping[str, Any]) -> _Ask:
            return lambda: llm.generate_outputs(list(asked), num_generations=1, **options)

        asks = [ask(llm, options) for llm, options in zip(self.proposers_llms, kwargs, strict=True)]
        answers = _together(asks, len(inputs))
        said = [[output["generations"][0] for output in row] for row in zip(*answers, strict=True)]
        _raise_failures({place: self._silence(texts) for place, texts in enumerate(said) if None in texts}, len(inputs))
        return cast("list[list[str]]", said)

    def _silence(self, texts: Sequence[str | None]) -> RequestError:
        silent = self.proposers_llms[texts.index(None)].model_name
        return RequestError(f"'{silent}' gave no answer to put before the others")


def with_proposals(input: FormattedInput, proposals: Sequence[str]) -> FormattedInput:
    """An input with what others answered to it in its system message; left as it is where nobody did.

    Args:
        input: a conversation, a text, or a pair of one with the shape of its answer.
        proposals: the others' answers.
    """
    if not proposals:
        return input
    conversation, shape = split_input(input)
    messages = [dict(message) for message in as_messages(conversation)]
    listed = "\n\n".join(f"Answer {number}:\n{text}" for number, text in enumerate(proposals, 1))
    told = f"{TOGETHER}\n\n{listed}"
    system = next((message for message in messages if message["role"] == "system"), None)
    if system is None:
        messages.insert(0, {"role": "system", "content": told})
    else:
        system["content"] = f"{told}\n\n{system['content']}"
    asked = cast("FormattedInput", messages)
    return cast("FormattedInput", (asked, shape)) if shape is not None else asked


def _together(asks: Sequence[_Ask], inputs: int) -> list[Sequence[GenerateOutput]]:
    """What each of several models says, asked at the same time, each in a thread of its own.

    Raises:
        RequestsFailedError: one of them failed on some inputs; all are awaited, and their answers kept, before.
    """
    if (rows := expected.get()) is not None:
        rows.met()  # once, not once for each thread
    book = current_answers.get()
    shared = SharedBook(book) if book is not None else None
    with ThreadPoolExecutor(len(asks), thread_name_prefix="proposer") as threads:
        futures = [threads.submit(_in_context(shared, ask)) for ask in asks]
    errors = [error for future in futures if (error := future.exception()) is not None]
    _raise_first(errors, inputs)
    return [future.result() for future in futures]


def _in_context(book: SharedBook | None, ask: _Ask) -> _Ask:
    """The call as the calling thread would make it, but with a book that several threads may use."""
    context = contextvars.copy_context()
    context.run(current_answers.set, book)
    return lambda: context.run(ask)


def _raise_first(errors: Sequence[BaseException], inputs: int) -> None:
    """Raises what ends the step or the batch, else what failed by its input."""
    for kind in (StepFatalError, DrainedError):
        if (found := next((error for error in errors if isinstance(error, kind)), None)) is not None:
            raise found
    failures: dict[int, Exception] = {}
    for error in errors:
        if not isinstance(error, RequestsFailedError):
            raise error
        failures = {**error.failures, **failures}
    _raise_failures(failures, inputs)


def _raise_failures(failures: Mapping[int, Exception], inputs: int) -> None:
    if failures and inputs == 1:
        raise failures[0]
    if failures:
        raise RequestsFailedError(dict(sorted(failures.items())), inputs=inputs) from next(iter(failures.values()))

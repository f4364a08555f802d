"""Language models that vLLM runs in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt, validate_call

from distilmq.errors import DistilmqUserError, TooLongError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.local_llm import LocalLLM
from distilmq.models.llms.shapes import Shape, shape_of
from distilmq.models.llms.structured_llm import StructuredLLM
from distilmq.models.llms.utils import given, optional_library, split_input
from distilmq.models.llms.vllm_engine import (
    answered,
    errors_of,
    gpus_wanted,
    released,
    requests_at_once,
    started_async_engine,
)
from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin
from distilmq.models.requests.usage import statistics
from distilmq.typing import GenerateOutput, LLMLogprobs


class vLLM(LocalLLM, StructuredLLM):
    """Runs a model in this process with vLLM, many requests at once (continuous batching).

    A request takes the place of one that is done, whatever batch it is of: no batch waits for its slowest row. Several
    steps or machines share one model through a vLLM server and `ClientvLLM`.

    Attributes:
        model: the repository on the Hub, or a folder.
        dtype: of the weights, such as `float16`.
        trust_remote_code: whether code that comes with the model is run.
        quantization: how the weights are quantized.
        revision: of the repository.
        tokenizer: the repository or folder of the tokenizer; the model's own when it is not given.
        tokenizer_mode: `auto` or `slow`.
        tokenizer_revision: of that repository.
        skip_tokenizer_init: do without a tokenizer; then prompts cannot be put together.
        chat_template: a chat template instead of the tokenizer's.
        seed: of the engine.
        extra_kwargs: further arguments of `vllm.AsyncEngineArgs`, such as `tensor_parallel_size`.
        max_concurrency: how many requests the engine is given at once; as many as it works on (its `max_num_seqs`)
            when it is not given.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema, or as
            `{"format": "regex", "schema": …}`. The engine holds answers to it, as far as `max_new_tokens` lets them go.

    Examples:
        ```python
        from distilmq.models import vLLM
        from distilmq.steps.tasks import TextGeneration

        llm = vLLM(model="Qwen/Qwen2.5-7B-Instruct", extra_kwargs={"gpu_memory_utilization": 0.8})
        task = TextGeneration(llm=llm)
        ```
    """

    dtype: str = "auto"
    trust_remote_code: bool = False
    quantization: str | None = None
    revision: str | None = None
    tokenizer: str | None = None
    tokenizer_mode: Literal["auto", "slow"] = "auto"
    tokenizer_revision: str | None = None
    skip_tokenizer_init: bool = False
    seed: int = 0
    extra_kwargs: RuntimeParameter[dict[str, Any]] | None = Field(
        default_factory=dict[str, Any], description="Further arguments of `vllm.AsyncEngineArgs`."
    )

    offline_batches: ClassVar[bool] = False
    takes_regex: ClassVar[bool] = True

    def load(self) -> None:
        """Loads the weights.

        Raises:
            ImportError: `vllm` is not installed.
            DistilmqUserError: the shape of the answers cannot be read, the engine does not take what it is told, or no
                GPU is free.
        """
        StructuredLLM.load(self)
        CudaDevicePlacementMixin.load(self)
        self._model = started_async_engine(self._options())
        self._use(self._model, self._model.get_tokenizer())

    def unload(self) -> None:
        """Gives the memory back."""
        StructuredLLM.unload(self)
        engine, self._model, self._tokenizer = self._model, None, None
        released(engine)
        CudaDevicePlacementMixin.unload(self)

    async def aclose(self) -> None:
        """Ends the engine's task on the event loop."""
        if self._model is not None:
            self._model.output_handler.cancel()

    def account(self) -> bytes | None:
        """None: the engine is this process's own."""
        return None

    def _told_concurrency(self) -> int | None:
        return self.max_concurrency or requests_at_once(self._model, self.extra_kwargs)

    @validate_call
    async def agenerate(  # pyright: ignore[reportIncompatibleMethodOverride]  # its own arguments
        self,
        input: Any,
        num_generations: int = 1,
        max_new_tokens: int = 128,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repetition_penalty: float = 1.0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = -1,
        min_p: float = 0.0,
        logprobs: PositiveInt | None = None,
        stop: list[str] | None = None,
        stop_token_ids: list[int] | None = None,
        include_stop_str_in_output: bool = False,
        logits_processors: list[Any] | None = None,
        extra_sampling_params: dict[str, Any] | None = None,
        echo: bool = False,
    ) -> GenerateOutput:
        """Answers one conversation, or continues one text.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            num_generations: answers.
            max_new_tokens: the most tokens that an answer has.
            presence_penalty: against tokens that came.
            frequency_penalty: against tokens the more often they came.
            repetition_penalty: against tokens that came, 1 for none.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            top_k: how many of the likeliest tokens are sampled from; -1 for all.
            min_p: least probability of a token that is sampled, in shares of the likeliest one's.
            logprobs: how many of the likeliest tokens to give at each place.
            stop: texts at which an answer ends.
            stop_token_ids: tokens at which an answer ends.
            include_stop_str_in_output: whether the text at which it ended is part of an answer.
            logits_processors: not taken: since its first version vLLM knows them for the whole engine only.
            extra_sampling_params: further arguments of `vllm.SamplingParams`.
            echo: whether to give the prompt before the answer.

        Raises:
            TooLongError: the prompt is longer than the model takes.
            InvalidRequestError: the engine does not take the request.
            StepFatalError: the engine has died.
            DistilmqUserError: `logits_processors` are given, or the shape of the answer cannot be read.
        """
        if logits_processors:
            raise DistilmqUserError(
                "`vLLM` takes no `logits_processors` with a request: give them to the engine, as"
                " `extra_kwargs={'logits_processors': [...]}`."
            )
        engine = self._loaded()
        conversation, shape = split_input(input)
        text = self.prepare_input(conversation)
        sampling = {
            "n": num_generations,
            "max_tokens": max_new_tokens,
            "presence_penalty": presence_penalty,
            "frequency_penalty": frequency_penalty,
            "repetition_penalty": repetition_penalty,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "min_p": min_p,
            "include_stop_str_in_output": include_stop_str_in_output,
            **given(logprobs=logprobs, stop=stop, stop_token_ids=stop_token_ids),
            **(extra_sampling_params or {}),
        }
        prompt = self._prompt(text, conversation)
        self._check_length(len(prompt.get("prompt_token_ids", ())))
        wanted = shape_of(shape or self.structured_output)
        with errors_of(self.model_name):
            output = await answered(engine, prompt, sampling_parameters(sampling, wanted))
        return output_of(output, before=text if echo else "")

    def _prompt(self, text: str, conversation: Any) -> dict[str, Any]:
        """What the engine is given; a chat template has the special tokens in it, so they are not added again."""
        bare = self._is_bare(conversation)
        if self._tokenizer is None:
            return {"prompt": text}
        return {"prompt_token_ids": self._tokenizer.encode(text, add_special_tokens=bare)}

    def _check_length(self, tokens: int) -> None:
        most = self._loaded().model_config.max_model_len
        if tokens >= most:
            raise TooLongError(
                f"'{self.model_name}' takes {most} tokens, and this prompt has {tokens}: leave some for the answer"
            )

    def _options(self) -> dict[str, Any]:
        """Arguments of `vllm.AsyncEngineArgs`."""
        return {
            "model": self.model,
            "dtype": self.dtype,
            "trust_remote_code": self.trust_remote_code,
            "quantization": self.quantization,
            "revision": self.revision,
            "tokenizer": self.tokenizer,
            "tokenizer_mode": self.tokenizer_mode,
            "tokenizer_revision": self.tokenizer_revision,
            "skip_tokenizer_init": self.skip_tokenizer_init,
            "seed": self.seed,
            **(self.extra_kwargs or {}),
        }

    def _gpus_wanted(self) -> int:
        return gpus_wanted(self.extra_kwargs)


def sampling_parameters(options: Mapping[str, Any], shape: Shape | None) -> Any:
    """`vllm.SamplingParams` of a request whose answer is wanted whole.

    Args:
        options: its arguments.
        shape: of the answer, if it has to have one.
    """
    library = optional_library("vllm.sampling_params", "vllm")
    structure = None if shape is None else library.StructuredOutputsParams(**structure_of(shape))
    whole = library.RequestOutputKind.FINAL_ONLY
    return library.SamplingParams(**{"output_kind": whole, **options, "structured_outputs": structure})


def structure_of(shape: Shape) -> dict[str, Any]:
    """The arguments of `vllm.sampling_params.StructuredOutputsParams` for a shape."""
    return {shape.format: shape.schema}


def output_of(output: Any, *, before: str = "") -> GenerateOutput:
    """What vLLM gave for one prompt (a `vllm.RequestOutput`).

    Args:
        output: of the engine.
        before: put before each answer.
    """
    answers = list(output.outputs)
    made: GenerateOutput = {
        "generations": [before + answer.text for answer in answers],
        "statistics": statistics(
            len(output.prompt_token_ids or []) or None, [len(answer.token_ids) for answer in answers], len(answers)
        ),
    }
    logprobs: LLMLogprobs = [
        [[{"token": each.decoded_token or "", "logprob": each.logprob} for each in place.values()] for place in likely]
        for answer in answers
        if (likely := answer.logprobs) is not None
    ]
    if logprobs:
        made["logprobs"] = logprobs
    return made

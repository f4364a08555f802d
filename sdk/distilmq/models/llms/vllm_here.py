"""Language models that vLLM runs in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, validate_call

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.llm import LLM
from distilmq.models.llms.local_llm import LocalLLM
from distilmq.models.llms.shapes import Shape, plain_shape, shape_of
from distilmq.models.llms.utils import given, optional_library, split_input
from distilmq.models.llms.vllm_engine import gpus_wanted, released, started_engine
from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin
from distilmq.models.requests.usage import statistics
from distilmq.typing import GenerateOutput, LLMLogprobs


class vLLM(LocalLLM):
    """Runs a model in this process with vLLM, a batch at a time.

    Give the step a large `input_batch_size`: vLLM works on a batch's prompts together, as many as fit in memory.
    Several steps or machines share one model through a vLLM server and `ClientvLLM`.

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
        extra_kwargs: further arguments of `vllm.LLM`, such as `tensor_parallel_size`.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema, or as
            `{"format": "regex", "schema": …}`. The engine holds answers to it, as far as `max_new_tokens` lets them go.

    Examples:
        ```python
        from distilmq.models import vLLM
        from distilmq.steps.tasks import TextGeneration

        llm = vLLM(model="Qwen/Qwen2.5-7B-Instruct", extra_kwargs={"gpu_memory_utilization": 0.8})
        task = TextGeneration(llm=llm, input_batch_size=500)
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
        default_factory=dict[str, Any], description="Further arguments of `vllm.LLM`."
    )
    structured_output: RuntimeParameter[dict[str, Any]] | None = Field(
        default=None, description="The shape of the answers."
    )

    @field_validator("structured_output", mode="before")
    @classmethod
    def _plain_shape(cls, shape: Any) -> Any:
        """A pydantic model becomes its schema at once, so that dumps, plans and signatures hold JSON."""
        return plain_shape(shape) if isinstance(shape, dict) else shape

    def load(self) -> None:
        """Loads the weights.

        Raises:
            ImportError: `vllm` is not installed.
            DistilmqUserError: the shape of the answers cannot be read, or no GPU is free.
        """
        LLM.load(self)
        if (shape := shape_of(self.structured_output)) is not None:
            shape.check()
        CudaDevicePlacementMixin.load(self)
        self._model = started_engine(self._options())
        self._use(self._model, self._model.get_tokenizer())

    def unload(self) -> None:
        """Gives the memory back."""
        engine, self._model, self._tokenizer = self._model, None, None
        released(engine)
        CudaDevicePlacementMixin.unload(self)
        LLM.unload(self)

    @validate_call
    def generate(  # pyright: ignore[reportIncompatibleMethodOverride]  # its own arguments
        self,
        inputs: list[Any],
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
    ) -> list[GenerateOutput]:
        """Answers each input, all of them together.

        Args:
            inputs: conversations, texts, or pairs of one with the shape of its answer.
            num_generations: answers per input.
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
            DistilmqUserError: `logits_processors` are given, or the shape of an answer cannot be read.
        """
        if logits_processors:
            raise DistilmqUserError(
                "`vLLM` takes no `logits_processors` with a request: give them to the engine, as"
                " `extra_kwargs={'logits_processors': [...]}`."
            )
        engine = self._loaded()
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
        asked = [split_input(input) for input in inputs]
        texts = [self.prepare_input(conversation) for conversation, _ in asked]
        outputs: Any = engine.generate(
            [self._prompt(text, conversation) for text, (conversation, _) in zip(texts, asked, strict=True)],
            sampling_params=[self._sampling(sampling, shape) for _, shape in asked],
            use_tqdm=False,
        )
        return [output_of(output, before=text if echo else "") for output, text in zip(outputs, texts, strict=True)]

    def _prompt(self, text: str, conversation: Any) -> str | dict[str, Any]:
        """What the engine is given; a chat template has the special tokens in it, so they are not added again."""
        if self._is_bare(conversation):
            return text
        return {"prompt_token_ids": self._tokenizer.encode(text, add_special_tokens=False)}

    def _sampling(self, options: Mapping[str, Any], shape: Any) -> Any:
        library = optional_library("vllm", "vllm")
        asked = shape_of(shape or self.structured_output)
        if asked is None:
            return library.SamplingParams(**options)
        structure = optional_library("vllm.sampling_params", "vllm").StructuredOutputsParams(**structure_of(asked))
        return library.SamplingParams(**options, structured_outputs=structure)

    def _options(self) -> dict[str, Any]:
        """Arguments of `vllm.LLM`."""
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
            len(output.prompt_token_ids or []), [len(answer.token_ids) for answer in answers], len(answers)
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

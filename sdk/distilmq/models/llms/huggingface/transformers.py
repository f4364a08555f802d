"""Models of the library transformers, run in this process."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from pydantic import Field, SecretStr, validate_call

from distilmq.errors import DistilmqUserError, RequestsFailedError, TooLongError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.credentials import key_from
from distilmq.models.llms.llm import LLM
from distilmq.models.llms.local_llm import LocalLLM
from distilmq.models.llms.utils import optional_library, split_input
from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin
from distilmq.models.requests.usage import statistics
from distilmq.typing import GenerateOutput, HiddenState

_CUDA = "cuda"
_EXTRA = "hf-transformers"
_NO_BOUND = 10**9
"""Tokenizers that know no bound name a number that is larger still."""


class TransformersLLM(LocalLLM):
    """Runs a model in this process with transformers, a batch at a time.

    The step's `input_batch_size` is how many prompts are worked on together. A model without a chat template (a base
    model) gets conversations as plain text: a single message as it is, longer ones as `User: …` and `Assistant: …`.

    Attributes:
        model: the repository on the Hub, or a folder.
        revision: of the repository.
        torch_dtype: of the weights, such as `float16`; `auto` is that of the file.
        trust_remote_code: whether code that comes with the model is run.
        model_kwargs: further arguments of `from_pretrained`.
        tokenizer: the repository or folder of the tokenizer; the model's own when it is not given.
        use_fast: whether the tokenizer's fast version is used.
        chat_template: a chat template instead of the tokenizer's.
        device: such as `cuda` or `cpu`, or a GPU's number; a GPU where there is one, when it is not given.
        device_map: how the layers are shared out to devices, such as `auto`.
        token: of the Hub; from `HF_TOKEN` when it is not given.
        structured_output: accepted for scripts of distilabel; transformers shapes no answers, so one that is given is
            refused when the model is loaded.

    Examples:
        ```python
        from distilmq.models import TransformersLLM
        from distilmq.steps.tasks import TextGeneration

        llm = TransformersLLM(model="HuggingFaceTB/SmolLM2-135M-Instruct", generation_kwargs={"max_new_tokens": 64})
        task = TextGeneration(llm=llm, input_batch_size=16)
        ```
    """

    revision: str = "main"
    torch_dtype: str = "auto"
    trust_remote_code: bool = False
    model_kwargs: dict[str, Any] | None = None
    tokenizer: str | None = None
    use_fast: bool = True
    device: str | int | None = None
    device_map: str | dict[str, Any] | None = None
    token: RuntimeParameter[SecretStr] | None = Field(
        default_factory=lambda: key_from("HF_TOKEN"), description="The token of the Hub."
    )
    structured_output: RuntimeParameter[dict[str, Any]] | None = Field(
        default=None, description="The shape of the answers."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"device", "device_map", "token", "use_fast"})

    def load(self) -> None:
        """Loads the weights.

        Raises:
            ImportError: `transformers` or `torch` is not installed.
            DistilmqUserError: there is no such model, or answers are to have a shape.
        """
        LLM.load(self)
        if self.structured_output is not None:
            raise DistilmqUserError(_NO_SHAPE)
        if self.device == _CUDA:
            CudaDevicePlacementMixin.load(self)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its warning at every fork tells nothing
        library = optional_library("transformers", _EXTRA)
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(self.tokenizer or self.model, **self._tokenizer_options())
            model = library.AutoModelForCausalLM.from_pretrained(self.model, **self._model_options())
        except (OSError, ValueError) as error:
            raise DistilmqUserError(f"'{self.model}' cannot be loaded by transformers: {error}") from error
        self._use(model, tokenizer)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if self.device_map is None:
            model.to(self._own_device())
        model.eval()

    def unload(self) -> None:
        """Gives the memory back."""
        self._model = self._tokenizer = None
        gc.collect()
        CudaDevicePlacementMixin.unload(self)
        LLM.unload(self)

    @property
    def shapes_answers(self) -> bool:
        """No: transformers shapes no answers."""
        return False

    @validate_call
    def generate(  # pyright: ignore[reportIncompatibleMethodOverride]  # its own arguments
        self,
        inputs: list[Any],
        num_generations: int = 1,
        max_new_tokens: int = 128,
        temperature: float = 0.1,
        repetition_penalty: float = 1.1,
        top_p: float = 1.0,
        top_k: int = 0,
        do_sample: bool = True,
    ) -> list[GenerateOutput]:
        """Answers each input, all of them together.

        Args:
            inputs: conversations or texts.
            num_generations: answers per input.
            max_new_tokens: the most tokens that an answer has.
            temperature: of the sampling; at 0 the likeliest token is taken.
            repetition_penalty: against tokens that came, 1 for none.
            top_p: share of the probability that is sampled from.
            top_k: how many of the likeliest tokens are sampled from; 0 for all.
            do_sample: whether to sample at all.

        Raises:
            TooLongError: the only prompt is longer than the model takes.
            RequestsFailedError: some prompts are.
            DistilmqUserError: several answers without sampling, or an answer of a shape.
        """
        if num_generations > 1 and not (do_sample and temperature > 0):
            raise DistilmqUserError(
                f"`num_generations={num_generations}` of `TransformersLLM` needs `do_sample=True` and a `temperature`"
                " above 0: without them all answers to an input are the same."
            )
        if not inputs:
            return []
        prompts = self._encoded(inputs)
        sampling = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        sequences = self._generated_tokens(
            prompts,
            max_new_tokens=max_new_tokens,
            repetition_penalty=repetition_penalty,
            num_return_sequences=num_generations,
            **({"do_sample": True, **sampling} if do_sample and temperature > 0 else {"do_sample": False}),
        )
        per_input = [sequences[place : place + num_generations] for place in range(0, len(sequences), num_generations)]
        return [self._output(prompt, answers) for prompt, answers in zip(prompts, per_input, strict=True)]

    def get_last_hidden_states(self, inputs: list[Any]) -> list[HiddenState]:
        """The last layer's vectors of each input's tokens.

        Args:
            inputs: conversations or texts.

        Returns:
            Per input a NumPy array of the shape (tokens, size of the layer).
        """
        torch = optional_library("torch", _EXTRA)
        padded = self._padded(self._encoded(inputs))
        with torch.inference_mode():
            states = self._model.base_model(**padded).last_hidden_state
        pairs = zip(states, padded["attention_mask"], strict=True)
        return [state[mask.bool()].float().cpu().numpy() for state, mask in pairs]

    def _encoded(self, inputs: Sequence[Any]) -> list[list[int]]:
        """The tokens of each prompt."""
        self._loaded()
        asked = [split_input(input) for input in inputs]
        if any(shape is not None for _, shape in asked):
            raise DistilmqUserError(_NO_SHAPE)
        prompts: list[list[int]] = []
        for conversation, _ in asked:
            text = self.prepare_input(conversation)
            prompts.append(self._tokenizer(text, add_special_tokens=self._is_bare(conversation))["input_ids"])
        self._check_lengths(prompts)
        return prompts

    def _check_lengths(self, prompts: Sequence[Sequence[int]]) -> None:
        most = min(
            getattr(self._model.config, "max_position_embeddings", None) or _NO_BOUND, self._tokenizer.model_max_length
        )
        failures: dict[int, Exception] = {
            place: TooLongError(
                f"'{self.model_name}' takes {most} tokens, and this prompt has {len(prompt)}: leave some for the answer"
            )
            for place, prompt in enumerate(prompts)
            if len(prompt) >= most
        }
        if failures and len(prompts) == 1:
            raise failures[0]
        if failures:
            raise RequestsFailedError(failures, inputs=len(prompts)) from next(iter(failures.values()))

    def _padded(self, prompts: Sequence[list[int]]) -> Any:
        batch: Any = self._tokenizer.pad({"input_ids": list(prompts)}, padding_side="left", return_tensors="pt")
        return batch.to(self._model.device)

    def _generated_tokens(self, prompts: Sequence[list[int]], **options: Any) -> list[list[int]]:
        """The tokens of each answer, up to the one that ends it."""
        torch = optional_library("torch", _EXTRA)
        padded = self._padded(prompts)
        with torch.inference_mode():
            given: Any = self._model.generate(**padded, pad_token_id=self._tokenizer.pad_token_id, **options)
        before: int = padded["input_ids"].shape[1]
        return [_ended(answer, self._ends()) for answer in given[:, before:].tolist()]

    def _ends(self) -> list[int]:
        """Tokens that end an answer."""
        told: Any = self._model.generation_config.eos_token_id
        ends = cast("list[int | None]", told if isinstance(told, list) else [told])
        return [end for end in [*ends, self._tokenizer.eos_token_id] if end is not None]

    def _output(self, prompt: Sequence[int], answers: Sequence[list[int]]) -> GenerateOutput:
        texts = [cast("str", self._tokenizer.decode(answer, skip_special_tokens=True)) for answer in answers]
        counts = [len(answer) for answer in answers]
        return {"generations": list(texts), "statistics": statistics(len(prompt), counts, len(answers))}

    def _tokenizer_options(self) -> dict[str, Any]:
        own = {} if self.tokenizer else {"revision": self.revision}
        return {"use_fast": self.use_fast, **own, **self._common_options()}

    def _model_options(self) -> dict[str, Any]:
        return {
            "revision": self.revision,
            "dtype": self.torch_dtype,
            "device_map": self.device_map,
            **self._common_options(),
            **(self.model_kwargs or {}),
        }

    def _common_options(self) -> dict[str, Any]:
        token = self.token.get_secret_value() if self.token is not None else None
        return {"trust_remote_code": self.trust_remote_code, "token": token}

    def _own_device(self) -> str | int:
        if self.device is not None:
            return self.device
        return _CUDA if optional_library("torch", _EXTRA).cuda.is_available() else "cpu"


_NO_SHAPE = (
    "`TransformersLLM` has no structured output: transformers shapes no answers. Use `LlamaCppLLM`, or a server of vLLM"
    " with `ClientvLLM`."
)


def _ended(answer: list[int], ends: Sequence[int]) -> list[int]:
    """The tokens up to the first that ends the answer, and it; what follows only fills the batch."""
    place = next((place for place, token in enumerate(answer) if token in ends), len(answer))
    return answer[: place + 1]

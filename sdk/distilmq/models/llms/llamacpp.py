"""Models in GGUF files, run in this process by llama.cpp's own server engine."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PositiveInt, PrivateAttr, validate_call

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.chat_template import ChatTemplate
from distilmq.models.llms.gguf import has_chat_template
from distilmq.models.llms.llamacpp_engine import (
    as_answer,
    engine_library,
    engine_parameters,
    set_further,
    started_engine,
)
from distilmq.models.llms.shapes import json_schema
from distilmq.models.llms.structured_llm import StructuredLLM
from distilmq.models.llms.utils import as_messages, as_text, split_input
from distilmq.models.mixins.magpie import MagpieChatTemplateMixin
from distilmq.models.requests.usage import statistics
from distilmq.typing import ChatType, GenerateOutput

RANDOM_SEED = 4294967295


class LlamaCppLLM(MagpieChatTemplateMixin, StructuredLLM):
    """Runs a model in this process, several requests at once (continuous batching).

    A model without a chat template (a base model) gets conversations as plain text: a single message as it is,
    longer ones as `User: …` and `Assistant: …`.

    Attributes:
        model_path: the GGUF file.
        n_gpu_layers: layers that go to the GPU; -1 for all.
        chat_format: name of one of llama.cpp's chat templates, or a template; the model's own when it is not given.
        n_ctx: tokens of prompt and answer that one request may have.
        n_batch: tokens of prompts that are worked on at once.
        seed: of the sampling; each further generation of a request takes the next one. Requests that are worked on
            together round differently, so a seed gives nearly the same text again, not always the same.
        verbose: let llama.cpp tell what it does on the standard error.
        extra_kwargs: further parameters of the engine (`xllamacpp.CommonParams`).
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema.
        tokenizer_id: the repository on the Hub, or the folder, whose chat template is used with Magpie; without Magpie
            the file's own is.
        use_magpie_template: where a conversation does not end with the user, let the model write the user's turn; needs
            `tokenizer_id`.
        magpie_pre_query_template: how a user's turn begins for this model: `llama3`, `qwen2`, or the text itself.

    Examples:
        ```python
        from distilmq.models import LlamaCppLLM
        from distilmq.models.llms.gguf import quickstart_weights

        llm = LlamaCppLLM(model_path=quickstart_weights(), n_ctx=256)
        llm.load()
        [output] = llm.generate_outputs([[{"role": "user", "content": "The capital of France is"}]], max_new_tokens=8)
        llm.unload()
        assert isinstance(output["generations"][0], str)
        ```
    """

    model_path: RuntimeParameter[Path] = Field(description="The path to the GGUF file.")
    n_gpu_layers: RuntimeParameter[int] = Field(default=-1, description="The number of layers on the GPU.")
    chat_format: RuntimeParameter[str] | None = Field(default=None, description="The chat template.")
    n_ctx: PositiveInt = 512
    n_batch: PositiveInt = 512
    seed: int = RANDOM_SEED
    verbose: RuntimeParameter[bool] = Field(default=False, description="Whether llama.cpp tells what it does.")
    extra_kwargs: RuntimeParameter[dict[str, Any]] | None = Field(
        default_factory=dict[str, Any], description="Further parameters of the engine."
    )
    tokenizer_id: RuntimeParameter[str] | None = Field(
        default=None, description="Whose chat template is used with Magpie."
    )
    max_concurrent_requests: RuntimeParameter[PositiveInt] = Field(
        default=4, description="The number of requests that are worked on at once."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset(
        {"max_concurrent_requests", "n_batch", "n_gpu_layers", "verbose"}
    )
    process_bound: ClassVar[frozenset[str]] = frozenset({"_server", "_template", "_threads"})
    runs_here: ClassVar[bool] = True

    _server: Any = PrivateAttr(default=None)
    """`xllamacpp.Server`, which has no types."""
    _threads: ThreadPoolExecutor | None = PrivateAttr(default=None)
    _chats: bool = PrivateAttr(default=False)
    _template: ChatTemplate | None = PrivateAttr(default=None)
    """Of `tokenizer_id`, where Magpie is used."""

    def load(self) -> None:
        """Loads the weights.

        Raises:
            ImportError: `xllamacpp` is not installed.
            DistilmqUserError: there is no such file, or an engine parameter does not exist.
        """
        super().load()
        self._check_tokenizer("tokenizer_id", self.tokenizer_id)
        if self.use_magpie_template and self.tokenizer_id:
            self._template = ChatTemplate.load(self.tokenizer_id)
        library = engine_library()
        path = self._path()
        self._chats = self.chat_format is not None or has_chat_template(path)
        self._server = started_engine(library, self._parameters(library, path), path)
        # An engine that goes away before its loop has begun sometimes hangs: one that has answered is past that.
        self._server.handle_completions({"prompt": " ", "max_tokens": 1})
        self._threads = ThreadPoolExecutor(self.max_concurrent_requests or 1, thread_name_prefix="llamacpp")

    def unload(self) -> None:
        """Gives the memory back."""
        super().unload()
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()
        self._server = None
        gc.collect()  # the engine's methods refer to it and it to them: it is not freed by counting

    def account(self) -> bytes | None:
        """None: the engine is this process's own."""
        return None

    def _told_concurrency(self) -> int | None:
        return self.max_concurrency or self.max_concurrent_requests

    @property
    def model_name(self) -> str:
        """The name of the file, without its folder and suffix."""
        return Path(self.model_path or "").stem

    @validate_call
    async def agenerate(
        self,
        input: Any,
        num_generations: int = 1,
        max_new_tokens: int = 128,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        stop: str | list[str] | None = None,
        extra_generation_kwargs: dict[str, Any] | None = None,
    ) -> GenerateOutput:
        """Answers one conversation, or continues one text.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            num_generations: answers.
            max_new_tokens: the most tokens that an answer has.
            frequency_penalty: against tokens the more often they came.
            presence_penalty: against tokens that came.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            stop: texts at which an answer ends.
            extra_generation_kwargs: further fields of llama.cpp's completion request.

        Raises:
            InvalidRequestError: the prompt is too long, or the engine does not understand the request.
        """
        conversation, shape = split_input(input)
        request: dict[str, Any] = {
            "max_tokens": max_new_tokens,
            "frequency_penalty": frequency_penalty,
            "presence_penalty": presence_penalty,
            "temperature": temperature,
            "top_p": top_p,
            **({"stop": stop} if stop is not None else {}),
            **(extra_generation_kwargs or {}),
        }
        schema = json_schema(shape or self.structured_output)
        if schema is not None:
            request["json_schema"] = schema
        if self._chats and self._template is None and not isinstance(conversation, str):
            request["messages"] = as_messages(conversation)
        else:
            request["prompt"] = conversation if isinstance(conversation, str) else self._text(conversation)
        seeds = [_seed(self.seed, index) for index in range(num_generations)]
        answers = await asyncio.gather(*(self._completed({**request, "seed": seed}) for seed in seeds))
        return {
            "generations": [answer[0] for answer in answers],
            "statistics": statistics(answers[0][1], [answer[2] for answer in answers], num_generations),
        }

    def _text(self, conversation: ChatType) -> str:
        if self._template is None:
            return as_text(conversation)
        return self.prompt_of(as_messages(conversation), self._template.render, begin=self._template.begin)

    async def _completed(self, request: dict[str, Any]) -> tuple[str | None, int, int]:
        """Text, tokens of the prompt and tokens of the text."""
        engine: Any = self._server
        threads = self._threads
        if engine is None or threads is None:
            raise DistilmqUserError(f"'{self.model_name}' is not loaded: call `load()` first.")
        handle: Any = engine.handle_chat_completions if "messages" in request else engine.handle_completions
        answer: Any = await asyncio.get_running_loop().run_in_executor(threads, handle, request)
        answer = as_answer(answer, who=f"'{self.model_name}'")
        choice, usage = answer["choices"][0], answer["usage"]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        return text, usage["prompt_tokens"], usage["completion_tokens"]

    def _path(self) -> Path:
        path = Path(self.model_path or "").expanduser()
        if not path.is_file():
            raise DistilmqUserError(f"`model_path` of `LlamaCppLLM` is '{self.model_path}': there is no such file.")
        return path

    def _parameters(self, library: Any, path: Path) -> Any:
        slots = self.max_concurrent_requests or 1
        parameters = engine_parameters(
            library, path, n_gpu_layers=self.n_gpu_layers, n_batch=self.n_batch, verbose=self.verbose
        )
        parameters.n_parallel = slots
        parameters.n_ctx = self.n_ctx * slots  # the engine shares it out among its slots
        if self.chat_format is not None:
            parameters.chat_template = self.chat_format
        set_further(parameters, self.extra_kwargs, who=type(self).__name__)
        return parameters


def _seed(seed: int, generation: int) -> int:
    """Of one generation; the random one stays random."""
    return seed if seed == RANDOM_SEED else (seed + generation) % RANDOM_SEED

"""Models that run in this process with their own tokenizer: what transformers and vLLM have in common."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from pydantic import PrivateAttr

from distilmq.errors import DistilmqUserError
from distilmq.models.llms.llm import LLM
from distilmq.models.llms.utils import as_messages, as_text
from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin
from distilmq.models.mixins.magpie import MagpieChatTemplateMixin


class LocalLLM(MagpieChatTemplateMixin, CudaDevicePlacementMixin, LLM, ABC):
    """A model that runs in this process, on prompts that its tokenizer puts together.

    Attributes:
        model: the repository on the Hub, or a folder.
        chat_template: a chat template instead of the tokenizer's.
    """

    model: str
    chat_template: str | None = None

    process_bound: ClassVar[frozenset[str]] = frozenset({"_model", "_tokenizer"})
    runs_here: ClassVar[bool] = True

    _model: Any = PrivateAttr(default=None)
    """Of a library that is not installed where types are checked."""
    _tokenizer: Any = PrivateAttr(default=None)

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model

    def prepare_input(self, input: Any) -> str:
        """The text that the model goes on with.

        Args:
            input: a conversation, or a text, which is left as it is.
        """
        if isinstance(input, str):
            return input
        return self.prompt_of(as_messages(input), self._render, begin=self._tokenizer.bos_token)

    def _use(self, model: Any, tokenizer: Any) -> None:
        """They are loaded."""
        self._model, self._tokenizer = model, tokenizer
        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template

    def _loaded(self) -> Any:
        """The model.

        Raises:
            DistilmqUserError: there is none yet.
        """
        if self._model is None:
            raise DistilmqUserError(f"'{self.model_name}' is not loaded: call `load()` first.")
        return self._model

    def _is_bare(self, conversation: Any) -> bool:
        """Whether the text of a prompt is without the special tokens that a chat template has in it."""
        return isinstance(conversation, str) or self._tokenizer.chat_template is None

    def _render(self, messages: Sequence[Mapping[str, Any]], answering: bool) -> str:
        if self._tokenizer.chat_template is None:
            return as_text(cast("Any", messages))
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answering)

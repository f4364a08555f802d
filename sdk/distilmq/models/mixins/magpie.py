"""Letting a model write what a user would say, by ending its prompt where a user's turn begins.

After Xu et al. 2024, "Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing",
https://arxiv.org/abs/2406.08464.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter

MagpieAvailablePreQueryTemplates = Literal["llama3", "qwen2"]
MAGPIE_PRE_QUERY_TEMPLATES: dict[str, str] = {
    "llama3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
    "qwen2": "<|im_start|>user\n",
}
"""How a user's turn begins, in families of models."""

Render = Callable[[Sequence[Mapping[str, Any]], bool], str]
"""The text of a conversation, and whether it ends where the model's answer begins."""


class MagpieChatTemplateMixin(BaseModel):
    """For models whose prompts are put together here.

    Attributes:
        use_magpie_template: where a conversation does not end with the user, let the model write the user's turn.
        magpie_pre_query_template: how a user's turn begins for this model: `llama3`, `qwen2`, or the text itself.
    """

    use_magpie_template: RuntimeParameter[bool] = Field(
        default=False, description="Whether the model writes the user's turn where the conversation lacks it."
    )
    magpie_pre_query_template: RuntimeParameter[str] | None = Field(
        default=None, description="How a user's turn begins: `llama3`, `qwen2`, or the text itself."
    )

    @field_validator("magpie_pre_query_template")
    @classmethod
    def _by_name(cls, value: str | None) -> str | None:
        return MAGPIE_PRE_QUERY_TEMPLATES.get(value, value) if value is not None else None

    @model_validator(mode="after")
    def _template_is_given(self) -> MagpieChatTemplateMixin:
        if self.use_magpie_template and self.magpie_pre_query_template is None:
            raise DistilmqUserError(
                "Cannot set `use_magpie_template=True` if `magpie_pre_query_template` is `None`. To use Magpie with"
                f" `{type(self).__name__}` you need to set the `magpie_pre_query_template` attribute."
            )
        return self

    def apply_magpie_pre_query_template(self, prompt: str, input: Sequence[Mapping[str, Any]]) -> str:
        """The prompt with the beginning of a user's turn, where Magpie is used and the conversation lacks one.

        Args:
            prompt: the text of the conversation.
            input: the conversation.
        """
        return prompt + (self.magpie_pre_query_template or "") if self.writes_the_user(input) else prompt

    def writes_the_user(self, input: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the model is to write the user's turn of a conversation."""
        return bool(self.use_magpie_template) and not (input and input[-1]["role"] == "user")

    def prompt_of(self, input: Sequence[Mapping[str, Any]], render: Render, *, begin: str | None) -> str:
        """The text that a model is sent for a conversation.

        Args:
            input: the conversation; empty where only Magpie's text is sent.
            render: the model's chat template.
            begin: the token that begins every text of the model, if it has one: it stands there once.
        """
        if not self.writes_the_user(input):
            return render(input, True)
        before = render(input, False) if input else ""
        turn = self.magpie_pre_query_template or ""
        return before + (turn.removeprefix(begin) if before and begin else turn)

    def _check_tokenizer(self, name: str, given: object) -> None:
        """Raises DistilmqUserError if Magpie is to be used and the field that says whose template to use is empty."""
        if self.use_magpie_template and not given:
            raise DistilmqUserError(
                f"`use_magpie_template` cannot be `True` if `{name}` of `{type(self).__name__}` is `None`: the model's"
                f" chat template has to be known here. Set `{name}` to the model's repository on the Hub."
            )

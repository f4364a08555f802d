"""Models behind a vLLM server; the class for those in this process is found here as well, as in distilabel."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PrivateAttr, validate_call

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.chat_template import ChatTemplate
from distilmq.models.llms.credentials import key_from
from distilmq.models.llms.openai import OpenAILLM, json_response_format
from distilmq.models.llms.shapes import shape_of
from distilmq.models.llms.utils import as_messages, given, split_input
from distilmq.models.llms.vllm_here import vLLM
from distilmq.models.mixins.magpie import MagpieChatTemplateMixin
from distilmq.typing import GenerateOutput

_NO_KEY = "EMPTY"
"""What vLLM's own examples send to a server that asks for no key."""


class ClientvLLM(MagpieChatTemplateMixin, OpenAILLM):
    """Asks a model that a vLLM server serves.

    Conversations are sent as they are, and the server puts them into the model's chat template. With a `tokenizer` they
    are put into its template here, and sent as text.

    Attributes:
        model: the model's name; the one that the server serves when it is not given.
        base_url: of the server, such as `http://localhost:8000/v1`; from `OPENAI_BASE_URL` when it is not given.
        api_key: from `OPENAI_API_KEY` when it is not given; none is needed where the server asks for none.
        tokenizer: the repository on the Hub, or the folder, whose chat template is used instead of the server's.
        tokenizer_revision: of that repository.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema, or as
            `{"format": "regex", "schema": …}` (which vLLM takes since 0.12).
        use_magpie_template: where a conversation does not end with the user, let the model write the user's turn; needs
            `tokenizer`.
        magpie_pre_query_template: how a user's turn begins for this model: `llama3`, `qwen2`, or the text itself.

    Examples:
        ```python
        from distilmq.models import ClientvLLM

        llm = ClientvLLM()  # the server at OPENAI_BASE_URL, such as http://localhost:8000/v1
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    model: str = ""
    tokenizer: RuntimeParameter[str] | None = Field(default=None, description="Whose chat template is used.")
    tokenizer_revision: RuntimeParameter[str] | None = Field(default=None, description="The revision of `tokenizer`.")

    process_bound: ClassVar[frozenset[str]] = frozenset({"_template"})
    offline_batches: ClassVar[bool] = False
    takes_regex: ClassVar[bool] = True

    _served: str = PrivateAttr(default="")
    """The model that the server said it serves."""
    _template: ChatTemplate | None = PrivateAttr(default=None)

    def load(self) -> None:
        """Makes the client, and asks the server what it serves if no model is named.

        Raises:
            DistilmqUserError: the server cannot be asked, or the tokenizer has no chat template.
        """
        self._check_tokenizer("tokenizer", self.tokenizer)
        self._served = self.model or self._first_model()
        if self.tokenizer:
            self._template = ChatTemplate.load(self.tokenizer, revision=self.tokenizer_revision)
        super().load()

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model or self._served

    @validate_call
    async def agenerate(  # pyright: ignore[reportIncompatibleMethodOverride]  # its own arguments
        self,
        input: Any,
        num_generations: int = 1,
        max_new_tokens: int = 128,
        frequency_penalty: float = 0.0,
        logit_bias: dict[str, int] | None = None,
        presence_penalty: float = 0.0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        logprobs: bool = False,
        top_logprobs: int | None = None,
        extra_body: dict[str, Any] | None = None,
    ) -> GenerateOutput:
        """Answers one conversation, or continues one text.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            num_generations: answers.
            max_new_tokens: the most tokens that an answer has.
            frequency_penalty: against tokens the more often they came.
            logit_bias: token to what is added to its likelihood.
            presence_penalty: against tokens that came.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            logprobs: whether to give the log probabilities of the answers' tokens.
            top_logprobs: how many of the likeliest tokens to give at each place, in conversations.
            extra_body: further fields of the request, such as `top_k`.

        Raises:
            RequestError: the server did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        options: dict[str, Any] = {
            "model": self.model_name,
            "n": num_generations,
            "max_tokens": max_new_tokens,
            "frequency_penalty": frequency_penalty,
            "presence_penalty": presence_penalty,
            "temperature": temperature,
            "top_p": top_p,
            **given(logit_bias=logit_bias),
        }
        more = {**(extra_body or {}), **_shaped(shape or self.structured_output)}
        if more:
            options["extra_body"] = more  # text may have a shape here, too, which OpenAI's own client does not know
        if isinstance(conversation, str) or self._template is not None:
            text = conversation if isinstance(conversation, str) else self._rendered(conversation)
            options |= {"prompt": text, **given(logprobs=(top_logprobs or 1) if logprobs else None)}
            return self._completion(await self._sent("completions", options))
        options |= {"messages": as_messages(conversation)}
        options |= given(logprobs=logprobs or None, top_logprobs=top_logprobs)
        return self._chat(await self._sent("chat", options))

    def _rendered(self, conversation: Any) -> str:
        assert self._template is not None
        return self.prompt_of(as_messages(conversation), self._template.render, begin=self._template.begin)

    def _key(self) -> str:
        key = self.api_key or key_from(self.key_variable)
        return key.get_secret_value() if key is not None else _NO_KEY

    def _first_model(self) -> str:
        import openai

        try:
            with openai.OpenAI(
                base_url=self.base_url, api_key=self._key(), timeout=self.timeout, default_headers=self.default_headers
            ) as client:
                return next(iter(client.models.list())).id
        except (openai.APIError, StopIteration) as error:
            raise DistilmqUserError(
                f"The server at {self.base_url} does not say what model it serves ({type(error).__name__}: {error})."
                " Give `model`, or check `base_url`."
            ) from error


def _shaped(asked: Any) -> dict[str, Any]:
    """How vLLM is told the shape of an answer: JSON in OpenAI's way, a regular expression in its own.

    https://docs.vllm.ai/en/latest/features/structured_outputs/
    """
    shape = shape_of(asked)
    if shape is not None and shape.format == "regex":
        return {"structured_outputs": {"regex": shape.schema}}
    return given(response_format=json_response_format(asked))


__all__ = ["ClientvLLM", "vLLM"]

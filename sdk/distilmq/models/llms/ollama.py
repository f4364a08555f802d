"""Models that an Ollama server runs, over its own API (OpenAI's, which it speaks too, knows none of its options)."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr, validate_call

from distilmq.errors import DistilmqUserError, InvalidRequestError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.api_llm import NamedApiLLM
from distilmq.models.llms.chat_template import ChatTemplate
from distilmq.models.llms.parts import Image, parts_of, text_of
from distilmq.models.llms.shapes import json_schema
from distilmq.models.llms.utils import as_messages, given, split_input
from distilmq.models.mixins.magpie import MagpieChatTemplateMixin
from distilmq.models.requests.http import JsonClient
from distilmq.models.requests.usage import statistics
from distilmq.typing import GenerateOutput, Logprob

OLLAMA_URL = "http://localhost:11434"
_HOST = "OLLAMA_HOST"
_PORT = 11434


class OllamaLLM(MagpieChatTemplateMixin, NamedApiLLM):
    """Asks a model that Ollama runs on this machine or another.

    Several generations are as many requests. Bare text, and conversations of a model with `tokenizer_id`, are sent as
    they are, without the model's template.

    Attributes:
        model: the model's name, such as `llama3.2`.
        host: of the server; from `OLLAMA_HOST` when it is not given, else this machine's.
        timeout: seconds to wait for an answer.
        follow_redirects: whether to go where the server points.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema.
        tokenizer_id: the repository on the Hub, or the folder, whose chat template is used instead of the server's.
        use_magpie_template: where a conversation does not end with the user, let the model write the user's turn; needs
            `tokenizer_id`.
        magpie_pre_query_template: how a user's turn begins for this model: `llama3`, `qwen2`, or the text itself.

    Examples:
        ```python
        from distilmq.models import OllamaLLM

        llm = OllamaLLM(model="llama3.2")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    host: RuntimeParameter[str] | None = Field(default=None, description="The host of the Ollama API.")
    follow_redirects: bool = True
    tokenizer_id: RuntimeParameter[str] | None = Field(default=None, description="Whose chat template is used.")

    operational_fields: ClassVar[frozenset[str]] = frozenset({"follow_redirects", "host"})
    process_bound: ClassVar[frozenset[str]] = frozenset({"_template"})

    _num_generations_param_supported = False
    _template: ChatTemplate | None = PrivateAttr(default=None)

    def load(self) -> None:
        """Makes the client.

        Raises:
            DistilmqUserError: the tokenizer has no chat template.
        """
        super().load()
        self._check_tokenizer("tokenizer_id", self.tokenizer_id)
        if self.tokenizer_id:
            self._template = ChatTemplate.load(self.tokenizer_id)
        self._aclient = JsonClient(
            self._address(), headers={}, timeout=self.timeout, follow_redirects=self.follow_redirects
        )

    @validate_call
    async def agenerate(
        self,
        input: Any,
        format: str | dict[str, Any] = "",
        options: dict[str, Any] | None = None,
        keep_alive: bool | str | None = None,
        max_new_tokens: int | None = None,
        logprobs: bool = False,
        top_logprobs: int | None = None,
    ) -> GenerateOutput:
        """Answers one conversation, or continues one text.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            format: `json`, or the JSON schema of the answer.
            options: Ollama's own, such as `temperature`, `num_ctx` and `seed`.
            keep_alive: how long the model stays in memory after the answer.
            max_new_tokens: the most tokens that the answer has; Ollama's option `num_predict`.
            logprobs: whether to give the log probabilities of the answer's tokens.
            top_logprobs: how many of the likeliest tokens to give at each place.

        Raises:
            RequestError: the server did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        body: dict[str, Any] = {
            "model": self.model,
            "stream": False,
            **given(
                format=format or json_schema(shape or self.structured_output),
                options=self._options(options, max_new_tokens),
                keep_alive=keep_alive,
                logprobs=logprobs or None,
                top_logprobs=top_logprobs,
            ),
        }
        if isinstance(conversation, str) or self._template is not None:
            text = conversation if isinstance(conversation, str) else self._rendered(conversation)
            return self._output(await self._sent("/api/generate", {**body, "prompt": text, "raw": True}))
        messages = [_message(message) for message in as_messages(conversation)]
        return self._output(await self._sent("/api/chat", {**body, "messages": messages}))

    def _options(self, options: dict[str, Any] | None, max_new_tokens: int | None) -> dict[str, Any] | None:
        if max_new_tokens is None:
            return options
        if options and "num_predict" in options:
            raise DistilmqUserError(
                "`generation_kwargs` of `OllamaLLM` give both `max_new_tokens` and the option `num_predict`: they are"
                " two names of one parameter. Give one of them."
            )
        return {**(options or {}), "num_predict": max_new_tokens}

    def _rendered(self, conversation: Any) -> str:
        assert self._template is not None
        return self.prompt_of(as_messages(conversation), self._template.render, begin=self._template.begin)

    async def _sent(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._loaded().post(path, body, who=self._who())

    def _who(self) -> str:
        return f"'{self.model_name}' at {self._address()}"

    def _address(self) -> str:
        """`OLLAMA_HOST` may be a bare host, with or without a port, and is `0.0.0.0` where servers are set up."""
        host = self.host or os.environ.get(_HOST) or OLLAMA_URL
        if "://" not in host:
            host = f"http://{host}" if ":" in host else f"http://{host}:{_PORT}"
        return host.replace("//0.0.0.0", "//127.0.0.1").rstrip("/")

    def _output(self, answer: dict[str, Any]) -> GenerateOutput:
        try:
            text: str = answer["message"]["content"] if "message" in answer else answer["response"]
        except (KeyError, TypeError) as error:
            raise self._no_answer(answer) from error
        output: GenerateOutput = {
            "generations": [text],
            "statistics": statistics(answer.get("prompt_eval_count"), answer.get("eval_count"), 1),
        }
        if answer.get("logprobs"):
            output["logprobs"] = [[_likeliest(token) for token in answer["logprobs"]]]
        return output


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message in Ollama's way: text, and images beside it."""
    images = [part for part in parts_of(message["content"]) if isinstance(part, Image)]
    if any(image.data is None for image in images):
        raise InvalidRequestError(
            "Ollama fetches no images: give them in the message, as `data:` URLs, not by the address where they lie."
        )
    turned = {**message, "content": text_of(message["content"])}
    return {**turned, "images": [image.data for image in images]} if images else turned


def _likeliest(token: dict[str, Any]) -> list[Logprob]:
    """The tokens at one place: the likeliest ones where several were asked for."""
    return [{"token": each["token"], "logprob": each["logprob"]} for each in token.get("top_logprobs") or [token]]

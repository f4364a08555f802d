"""OpenAI, and every server that speaks its chat API: vLLM, SGLang, Ollama, llama.cpp, TGI, OpenRouter, …"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, validate_call

from distilmq.errors import DistilmqUserError, RequestError, StepFatalError, TransientError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.base import AsyncLLM
from distilmq.models.llms.credentials import key_from, needed_key
from distilmq.models.llms.utils import as_messages, json_schema, missing_library, split_input
from distilmq.models.requests.limiter import hear
from distilmq.models.requests.retries import error_for_status, retry_after
from distilmq.models.requests.usage import statistics
from distilmq.typing import GenerateOutput, LLMLogprobs

if TYPE_CHECKING:
    import openai
    from openai.types import Completion
    from openai.types.chat import ChatCompletion

OPENAI_URL = "https://api.openai.com/v1"
_KEY, _URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"


class OpenAILLM(AsyncLLM):
    """Asks a model over OpenAI's chat API.

    Attributes:
        model: the model's name.
        base_url: of the server; from `OPENAI_BASE_URL` when it is not given.
        api_key: from `OPENAI_API_KEY` when it is not given.
        default_headers: sent with each request.
        timeout: seconds to wait for an answer.
        structured_output: the JSON schema of the answers, as `{"format": "json", "schema": …}`.

    Examples:
        ```python
        from distilmq.models import OpenAILLM

        llm = OpenAILLM(model="gpt-4o-mini")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    model: str
    base_url: RuntimeParameter[str] | None = Field(
        default_factory=lambda: os.environ.get(_URL) or OPENAI_URL,
        description="The base URL to use for the API requests.",
    )
    api_key: RuntimeParameter[SecretStr] | None = Field(
        default_factory=lambda: key_from(_KEY), description="The API key to authenticate the requests."
    )
    default_headers: RuntimeParameter[dict[str, str]] | None = Field(
        default=None, description="The headers to send with every request."
    )
    timeout: RuntimeParameter[float] = Field(
        default=120, description="The maximum time in seconds to wait for a response from the API."
    )
    structured_output: RuntimeParameter[dict[str, Any]] | None = Field(
        default=None, description="The shape of the answers."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"api_key", "base_url", "default_headers", "timeout"})
    process_bound: ClassVar[frozenset[str]] = frozenset({"_aclient"})

    _aclient: openai.AsyncOpenAI | None = PrivateAttr(default=None)

    def load(self) -> None:
        """Makes the client.

        Raises:
            DistilmqUserError: there is no key.
        """
        super().load()
        try:
            import openai
        except ImportError as error:
            raise missing_library("openai", "openai") from error
        self._aclient = self._client(openai)

    async def aclose(self) -> None:
        """Closes the client."""
        if self._aclient is not None:
            await self._aclient.close()
            self._aclient = None

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model

    @validate_call
    async def agenerate(
        self,
        input: Any,
        num_generations: int = 1,
        max_new_tokens: int = 128,
        logprobs: bool = False,
        top_logprobs: int | None = None,
        echo: bool = False,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        temperature: float = 1.0,
        top_p: float | None = None,
        stop: str | list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        extra_body: dict[str, Any] | None = None,
    ) -> GenerateOutput:
        """Answers one conversation, or continues one text.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            num_generations: answers.
            max_new_tokens: the most tokens that an answer has.
            logprobs: whether to give the log probabilities of the answers' tokens.
            top_logprobs: how many of the likeliest tokens to give at each place.
            echo: whether to give the text before what continues it; for texts only.
            frequency_penalty: against tokens the more often they came.
            presence_penalty: against tokens that came.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            stop: texts at which an answer ends.
            response_format: OpenAI's own way to ask for JSON.
            extra_body: further fields of the request, for servers that know more.

        Raises:
            RequestError: the provider did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        options: dict[str, Any] = {
            "model": self.model,
            "n": num_generations,
            "temperature": temperature,
            **_given(top_p=top_p, stop=stop, extra_body=extra_body),
            **{
                name: value
                for name, value in (("frequency_penalty", frequency_penalty), ("presence_penalty", presence_penalty))
                if value  # models that reason take none, not even the 0 that is the default
            },
        }
        if isinstance(conversation, str):
            more = _given(logprobs=(top_logprobs or 1) if logprobs else None, echo=echo or None)
            options |= {"prompt": conversation, "max_tokens": max_new_tokens, **more}
            return self._completion(await self._sent("completions", options))
        options |= {
            "messages": as_messages(conversation),
            self._max_tokens_name(): max_new_tokens,
            **_given(
                logprobs=logprobs or None,
                top_logprobs=top_logprobs,
                response_format=response_format or _response_format(shape or self.structured_output),
            ),
        }
        return self._chat(await self._sent("chat", options))

    def _client(self, library: Any) -> openai.AsyncOpenAI:
        return library.AsyncOpenAI(
            base_url=self.base_url,
            api_key=needed_key(self, _KEY),
            default_headers=self.default_headers,
            timeout=self.timeout,
            max_retries=0,  # there is one layer of retries, and it is ours
            http_client=library.DefaultAioHttpClient(),
        )

    def _max_tokens_name(self) -> Literal["max_completion_tokens", "max_tokens"]:
        """OpenAI's reasoning models take only the new name, other servers often only the old one."""
        host = urlsplit(self.base_url or OPENAI_URL).hostname or ""
        ours = host == "api.openai.com" or host.endswith(".openai.azure.com")
        return "max_completion_tokens" if ours else "max_tokens"

    async def _sent(self, kind: Literal["chat", "completions"], options: dict[str, Any]) -> Any:
        import openai

        if self._aclient is None:
            raise DistilmqUserError(f"'{self.model_name}' is not loaded: call `load()` first.")
        endpoint: Any = self._aclient.chat.completions if kind == "chat" else self._aclient.completions
        try:
            answer = await endpoint.with_raw_response.create(**options)
            hear(answer.headers)
            return answer.parse()
        except openai.APIStatusError as error:
            hear(error.response.headers)
            raise self._translated(error) from error
        except openai.APIConnectionError as error:  # a timeout is one, too
            raise TransientError(f"'{self.model_name}' at {self.base_url}: {error.__cause__ or error}") from error
        except openai.APIError as error:
            raise TransientError(f"'{self.model_name}' at {self.base_url} sent no answer: {error}") from error

    def _translated(self, error: openai.APIStatusError) -> RequestError | StepFatalError:
        words = f"{error.message} ({error.code})" if error.code else error.message
        return error_for_status(
            error.status_code,
            words,
            retry_after=retry_after(error.response.headers),
            who=f"'{self.model_name}' at {self.base_url}",
        )

    def _chat(self, answer: ChatCompletion) -> GenerateOutput:
        texts: list[str | None] = []
        logprobs: LLMLogprobs = []
        for choice in answer.choices:
            if choice.message.content is None:
                self._logger.warning(
                    "'%s' gave no text (finish reason '%s'): %s",
                    self.model_name,
                    choice.finish_reason,
                    choice.message.refusal or "no reason given",
                )
            texts.append(choice.message.content)
            if choice.logprobs is not None and choice.logprobs.content is not None:
                logprobs.append(_logprobs(choice.logprobs.content))
        return _output(texts, answer.usage, logprobs)

    def _completion(self, answer: Completion) -> GenerateOutput:
        logprobs: LLMLogprobs = []
        for choice in answer.choices:
            if choice.logprobs is not None:
                pairs = zip(choice.logprobs.tokens or [], choice.logprobs.token_logprobs or [], strict=False)
                logprobs.append([{"token": token, "logprob": value} for token, value in pairs])
        return _output([choice.text for choice in answer.choices], answer.usage, logprobs)


def _output(texts: list[str | None], usage: Any, logprobs: LLMLogprobs) -> GenerateOutput:
    tokens = (usage.prompt_tokens, usage.completion_tokens) if usage is not None else (None, None)
    output: GenerateOutput = {"generations": texts, "statistics": statistics(*tokens, len(texts))}
    if logprobs:
        output["logprobs"] = logprobs
    return output


def _logprobs(content: Any) -> Any:
    """Per token it and its likelihood; where several were asked for, the likeliest at each place."""
    return [
        [{"token": top.token, "logprob": top.logprob} for top in token.top_logprobs]
        if token.top_logprobs
        else [{"token": token.token, "logprob": token.logprob}]
        for token in content
    ]


def _response_format(shape: Any) -> dict[str, Any] | None:
    schema = json_schema(shape)
    if schema is None:
        return None
    name = "".join(letter if letter.isalnum() else "_" for letter in str(schema.get("title", "answer")))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}

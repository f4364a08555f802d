"""OpenAI, and every server that speaks its chat API: vLLM, SGLang, llama.cpp, TGI, OpenRouter, …

The classes of providers that speak it too build on `OpenAILLM`: each says where the server is and what it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, validate_call

from distilmq.errors import TransientError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.batches.ticket import Ticket, current_ticket, with_extra_body
from distilmq.models.llms import stainless
from distilmq.models.llms.api_llm import NamedApiLLM
from distilmq.models.llms.credentials import address_field, key_field, needed_key
from distilmq.models.llms.shapes import json_schema
from distilmq.models.llms.strict_schemas import is_strict
from distilmq.models.llms.unanswered import no_text, refused
from distilmq.models.llms.utils import as_messages, given, missing_library, split_input
from distilmq.models.requests.limiter import hear
from distilmq.models.requests.rate_headers import without_limit_of_requests
from distilmq.models.requests.retries import error_for_status
from distilmq.models.requests.server_queue import metrics_url
from distilmq.models.requests.usage import statistics, told_tokens
from distilmq.typing import GenerateOutput, LLMLogprobs, Logprob, Unanswered

if TYPE_CHECKING:
    import openai
    from openai.types import Completion
    from openai.types.chat import ChatCompletion

OPENAI_URL = "https://api.openai.com/v1"
_GROQ_HOST = "api.groq.com"
_KEY, _URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"


class OpenAILLM(NamedApiLLM):
    """Asks a model over OpenAI's chat API.

    Attributes:
        model: the model's name.
        base_url: of the server; from `OPENAI_BASE_URL` when it is not given.
        api_key: from `OPENAI_API_KEY` when it is not given.
        default_headers: sent with each request.
        timeout: seconds to wait for an answer.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema.

    Examples:
        ```python
        from distilmq.models import OpenAILLM

        llm = OpenAILLM(model="gpt-4o-mini")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    base_url: RuntimeParameter[str] | None = address_field(
        _URL, OPENAI_URL, "The base URL to use for the API requests."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)
    default_headers: RuntimeParameter[dict[str, str]] | None = Field(
        default=None, description="The headers to send with every request."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"api_key", "base_url", "default_headers"})
    offline_batches: ClassVar[bool] = True
    counts_requests_per_day: ClassVar[bool] = False
    """Whether the limit of requests in its headers is that of a day."""
    key_variable: ClassVar[str] = _KEY
    """The environment variable that holds the key."""

    def check_key(self) -> None:
        """Raises DistilmqUserError if there is no key."""
        self._key()

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
            **given(top_p=top_p, stop=stop, extra_body=extra_body),
            **{
                name: value
                for name, value in (("frequency_penalty", frequency_penalty), ("presence_penalty", presence_penalty))
                if value  # models that reason take none, not even the 0 that is the default
            },
        }
        if isinstance(conversation, str):
            more = given(logprobs=(top_logprobs or 1) if logprobs else None, echo=echo or None)
            options |= {"prompt": conversation, "max_tokens": max_new_tokens, **more}
            return self._completion(await self._sent("completions", options))
        options |= {
            "messages": as_messages(conversation),
            self._max_tokens_name(): max_new_tokens,
            **given(
                logprobs=logprobs or None,
                top_logprobs=top_logprobs,
                response_format=response_format or self._response_format(shape or self.structured_output),
            ),
        }
        return self._chat(await self._sent("chat", options))

    def _client(self, library: Any) -> openai.AsyncOpenAI:
        return library.AsyncOpenAI(base_url=self._address(), **self._client_options(library))

    def _client_options(self, library: Any) -> dict[str, Any]:
        return {
            "api_key": self._key(),
            "default_headers": self.default_headers,
            "timeout": self.timeout,
            "max_retries": 0,  # there is one layer of retries, and it is ours
            "http_client": library.DefaultAioHttpClient(),
        }

    def _key(self) -> str:
        return needed_key(self, self.key_variable)

    def _address(self) -> str | None:
        return self.base_url

    def _metrics_url(self) -> str | None:
        return metrics_url(self.base_url)

    def _max_tokens_name(self) -> Literal["max_completion_tokens", "max_tokens"]:
        """OpenAI's reasoning models take only the new name, other servers often only the old one."""
        return "max_completion_tokens" if self._at_openai() else "max_tokens"

    def _at_openai(self) -> bool:
        """Whether OpenAI's own models answer: servers that speak the same API know less, or refuse what they do not."""
        host = urlsplit(self.base_url or OPENAI_URL).hostname or ""
        return host == "api.openai.com" or host.endswith(".openai.azure.com")

    def _response_format(self, shape: Any) -> dict[str, Any] | None:
        return json_response_format(shape, may_be_strict=self._at_openai())

    def _batch_provider(self) -> BatchProvider | None:
        from distilmq.models.batches.openai import OpenAIBatches

        return OpenAIBatches(self._loaded(), self._who()) if self.offline_batches else None

    async def _posted(self, ticket: Ticket, kind: Literal["chat", "completions"], options: dict[str, Any]) -> Any:
        """Asks through a batch job."""
        from openai.types import Completion
        from openai.types.chat import ChatCompletion

        url = "/v1/chat/completions" if kind == "chat" else "/v1/completions"
        make: Any = ChatCompletion.construct if kind == "chat" else Completion.construct
        answer = make(**await ticket.post(url, with_extra_body(options)))
        self._check(answer, kind)
        return answer

    async def _sent(self, kind: Literal["chat", "completions"], options: dict[str, Any]) -> Any:
        import openai

        if (ticket := current_ticket.get()) is not None:
            return await self._posted(ticket, kind, options)
        client = self._loaded()
        endpoint: Any = client.chat.completions if kind == "chat" else client.completions
        with stainless.translated(openai, status=self._status, who=self._who, hear=self._hear):
            response = await endpoint.with_raw_response.create(**options)
            self._hear(response.headers)
            answer: Any = response.parse()
        self._check(answer, kind)
        return answer

    def _hear(self, headers: Mapping[str, str]) -> None:
        host = urlsplit(self._address() or OPENAI_URL).hostname or ""
        hear(without_limit_of_requests(headers) if self.counts_requests_per_day or host == _GROQ_HOST else headers)

    def _who(self) -> str:
        return f"'{self.model_name}' at {self.base_url}"

    def _check(self, answer: Any, kind: Literal["chat", "completions"]) -> None:
        """Raises if a status of 200 brought no answer: a proxy's page, an error in disguise, or no choice."""
        content = "message" if kind == "chat" else "text"
        choices = getattr(answer, "choices", None)
        if choices and all(getattr(choice, content, None) is not None for choice in choices):
            return
        error = getattr(answer, "error", None)  # as OpenRouter tells what went wrong behind it
        if isinstance(error, dict):
            told = cast("dict[str, Any]", error)
            status = told.get("code") if isinstance(told.get("code"), int) else 502
            raise error_for_status(cast("int", status), str(told.get("message")), who=self._who())
        said = answer if isinstance(answer, str) else f"an answer without a choice: {answer!r}"
        raise TransientError(f"{self._who()} sent {said[:500]}").with_answer(answer)

    def _chat(self, answer: ChatCompletion) -> GenerateOutput:
        choices = answer.choices
        if all(_refused(choice) for choice in choices):
            why = _why(choices[0])
            raise self._refusal(why["why"], why["answer"])
        texts = [choice.message.content for choice in choices]
        contents = [choice.logprobs.content if choice.logprobs is not None else None for choice in choices]
        logprobs = [token_logprobs(content or []) for content in contents]
        output = _output(texts, answer.usage, logprobs if any(content is not None for content in contents) else [])
        if None in texts:
            output["unanswered"] = [_why(choice) if choice.message.content is None else None for choice in choices]
        return output

    def _completion(self, answer: Completion) -> GenerateOutput:
        logprobs: LLMLogprobs = []
        for choice in answer.choices:
            if choice.logprobs is not None:
                pairs = zip(choice.logprobs.tokens or [], choice.logprobs.token_logprobs or [], strict=False)
                logprobs.append([[{"token": token, "logprob": value}] for token, value in pairs])
        return _output([choice.text for choice in answer.choices], answer.usage, logprobs)


def _output(texts: list[str | None], usage: Any, logprobs: LLMLogprobs) -> GenerateOutput:
    tokens = told_tokens(usage, "prompt_tokens", "completion_tokens")
    output: GenerateOutput = {"generations": texts, "statistics": statistics(*tokens, len(texts))}
    if logprobs:
        output["logprobs"] = logprobs
    return output


def token_logprobs(content: Any) -> list[list[Logprob]]:
    """Per token it and its likelihood; where several were asked for, the likeliest at each place."""
    return [
        [{"token": each.token, "logprob": each.logprob} for each in token.top_logprobs or [token]] for token in content
    ]


def _why(choice: Any) -> Unanswered:
    """Why there is no text in a choice."""
    if not _refused(choice):
        return no_text(choice.finish_reason)
    said = choice.message.refusal
    return refused(said or f"its finish reason is '{choice.finish_reason}'", said)


def _refused(choice: Any) -> bool:
    refused = choice.message.refusal or choice.finish_reason == "content_filter"
    return bool(refused) and not choice.message.content


def json_response_format(shape: Any, *, may_be_strict: bool = False) -> dict[str, Any] | None:
    """`response_format` as OpenAI's API takes it, for the shape that an answer shall have.

    Args:
        shape: of the answer.
        may_be_strict: whether the server holds to schemas strictly where that is possible.

    Raises:
        DistilmqUserError: the shape is something else than JSON of a schema.
    """
    schema = json_schema(shape)
    if schema is None:
        return None
    name = "".join(letter if letter.isalnum() else "_" for letter in str(schema.get("title", "answer")))[:64]
    strict = {"strict": True} if may_be_strict and is_strict(schema) else {}
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, **strict}}

"""Claude models over Anthropic's messages API."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SecretStr, validate_call

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.batches.ticket import current_ticket, with_extra_body
from distilmq.models.llms import stainless
from distilmq.models.llms.api_llm import NamedApiLLM
from distilmq.models.llms.credentials import address_field, key_field, needed_key
from distilmq.models.llms.parts import Image, Text, parts_of, text_of
from distilmq.models.llms.shapes import json_schema
from distilmq.models.llms.unanswered import no_text
from distilmq.models.llms.utils import as_messages, given, missing_library, split_input
from distilmq.models.requests.limiter import hear
from distilmq.models.requests.usage import statistics, told_tokens
from distilmq.typing import GenerateOutput

ANTHROPIC_URL = "https://api.anthropic.com"
_KEY, _URL = "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"


class AnthropicLLM(NamedApiLLM):
    """Asks a Claude model.

    System messages are sent as the request's `system`. Several generations are as many requests.

    Attributes:
        model: the model's name.
        base_url: of the server; from `ANTHROPIC_BASE_URL` when it is not given, else Anthropic's.
        api_key: from `ANTHROPIC_API_KEY` when it is not given.
        timeout: seconds to wait for an answer.
        http_client: the `httpx2.AsyncClient` to send with, for a model that is used without a pipeline: a client cannot
            travel to a worker.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema.

    Examples:
        ```python
        from distilmq.models import AnthropicLLM

        llm = AnthropicLLM(model="claude-haiku-4-5")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    base_url: RuntimeParameter[str] | None = address_field(
        _URL, ANTHROPIC_URL, "The base URL to use for the Anthropic API."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)
    timeout: RuntimeParameter[float] = Field(
        default=600.0, description="The maximum time in seconds to wait for a response from the API."
    )
    http_client: Any = Field(default=None, exclude=True, repr=False)

    operational_fields: ClassVar[frozenset[str]] = frozenset({"api_key", "base_url", "http_client"})
    offline_batches: ClassVar[bool] = True

    _num_generations_param_supported = False

    def check_key(self) -> None:
        """Raises DistilmqUserError if there is no key."""
        needed_key(self, _KEY)

    def load(self) -> None:
        """Makes the client.

        Raises:
            ImportError: `anthropic` is not installed.
            DistilmqUserError: there is no key.
        """
        super().load()
        try:
            import anthropic
        except ImportError as error:
            raise missing_library("anthropic", "anthropic") from error
        self._aclient = anthropic.AsyncAnthropic(
            api_key=needed_key(self, _KEY),
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=0,  # there is one layer of retries, and it is ours
            http_client=self.http_client or anthropic.DefaultAioHttpClient(),
        )

    @validate_call
    async def agenerate(
        self,
        input: Any,
        max_tokens: int = 128,
        stop_sequences: list[str] | None = None,
        temperature: float = 1.0,
        top_p: float | None = None,
        top_k: int | None = None,
    ) -> GenerateOutput:
        """Answers one conversation.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            max_tokens: the most tokens that the answer has.
            stop_sequences: texts at which the answer ends.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            top_k: how many of the likeliest tokens are sampled from.

        Raises:
            RequestError: the provider did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        system, messages = as_turns(as_messages(conversation))
        # 1 is Anthropic's own default, and models that reason take no other: only another one is sent.
        sampling = given(temperature=temperature if temperature != 1.0 else None, top_p=top_p, top_k=top_k)
        options: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": max_tokens,
            **given(
                system=system,
                stop_sequences=stop_sequences,
                output_config=_output_config(json_schema(shape or self.structured_output)),
                extra_body=sampling or None,
            ),
        }
        answer = await self._sent(options)
        text = "".join(block.text for block in answer.content if block.type == "text")
        if answer.stop_reason == "refusal":
            raise self._refusal("its stop reason is 'refusal'", text or None)
        output: GenerateOutput = {
            "generations": [text if answer.content else None],
            "statistics": statistics(*told_tokens(getattr(answer, "usage", None), "input_tokens", "output_tokens"), 1),
        }
        if not answer.content:
            output["unanswered"] = [no_text(answer.stop_reason)]
        return output

    def _who(self) -> str:
        return f"'{self.model_name}' at {self.base_url}"

    def _batch_provider(self) -> BatchProvider | None:
        from distilmq.models.batches.anthropic import AnthropicBatches

        return AnthropicBatches(self._loaded(), self._who()) if self.offline_batches else None

    async def _sent(self, options: dict[str, Any]) -> Any:
        import anthropic

        if (ticket := current_ticket.get()) is not None:
            return await ticket.post("/v1/messages", with_extra_body(options))
        client = self._loaded()
        with stainless.translated(anthropic, status=self._status, who=self._who, hear=hear):
            response = await client.messages.with_raw_response.create(**options)
            hear(response.headers)
            answer: Any = await response.parse()
        if getattr(answer, "content", None) is None:
            raise self._no_answer(answer)
        return answer


def as_turns(messages: list[dict[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
    """A conversation in Anthropic's way: what the system says apart, images as their own kind of block."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] == "system":
            system.append(text_of(message["content"]))
        else:
            role = "assistant" if message["role"] == "assistant" else "user"
            content = message["content"]
            turns.append(
                {"role": role, "content": content if isinstance(content, str) else [*map(_block, parts_of(content))]}
            )
    return "\n\n".join(system) or None, turns


def _block(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.data is not None:
        return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}
    return {"type": "image", "source": {"type": "url", "url": part.url}}


def _output_config(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """How JSON is asked for; the library rewrites a schema into the part of JSON Schema that Anthropic takes."""
    if schema is None:
        return None
    from anthropic import transform_schema

    return {"format": {"type": "json_schema", "schema": transform_schema(schema)}}

"""Mistral's chat API."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import Field, PositiveInt, SecretStr, validate_call

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.batches.provider import BatchProvider
from distilmq.models.batches.ticket import current_ticket
from distilmq.models.llms.api_llm import NamedApiLLM
from distilmq.models.llms.credentials import address_field, key_field, needed_key
from distilmq.models.llms.shapes import json_schema
from distilmq.models.llms.unanswered import no_text
from distilmq.models.llms.utils import as_messages, missing_library, split_input
from distilmq.models.requests.usage import statistics, told_tokens
from distilmq.typing import GenerateOutput

MISTRAL_URL = "https://api.mistral.ai"
_KEY, _URL = "MISTRAL_API_KEY", "MISTRAL_BASE_URL"


class MistralLLM(NamedApiLLM):
    """Asks a model over Mistral's chat API.

    Attributes:
        model: the model's name.
        endpoint: of the server; from `MISTRAL_BASE_URL` when it is not given.
        api_key: from `MISTRAL_API_KEY` when it is not given.
        timeout: seconds to wait for an answer.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema.

    Examples:
        ```python
        from distilmq.models import MistralLLM

        llm = MistralLLM(model="mistral-small-latest")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    endpoint: RuntimeParameter[str] | None = address_field(_URL, MISTRAL_URL, "The endpoint of the Mistral API.")
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)
    max_concurrent_requests: RuntimeParameter[PositiveInt] = Field(
        default=64,
        description="The maximum number of requests that are sent at once, as `max_concurrency`.",
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"api_key", "endpoint", "max_concurrent_requests"})
    offline_batches: ClassVar[bool] = True

    _num_generations_param_supported = False

    def _told_concurrency(self) -> int | None:
        return self.max_concurrency or self.max_concurrent_requests

    def check_key(self) -> None:
        """Raises DistilmqUserError if there is no key."""
        needed_key(self, _KEY)

    def load(self) -> None:
        """Makes the client.

        Raises:
            ImportError: `mistralai` is not installed.
            DistilmqUserError: there is no key.
        """
        super().load()
        try:
            from mistralai.client import Mistral
        except ImportError as error:
            raise missing_library("mistralai", "mistralai") from error
        self._aclient = Mistral(
            api_key=needed_key(self, _KEY),
            server_url=self.endpoint,
            timeout_ms=int((self.timeout or 120) * 1000),
            retry_config=None,  # there is one layer of retries, and it is ours
        )

    async def _close(self, client: Any) -> None:
        await client.__aexit__(None, None, None)
        client.__exit__(None, None, None)

    def _who(self) -> str:
        return f"'{self.model_name}' at {self.endpoint}"

    @validate_call
    async def agenerate(
        self,
        input: Any,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: str | list[str] | None = None,
        random_seed: int | None = None,
    ) -> GenerateOutput:
        """Answers one conversation.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            max_new_tokens: the most tokens that the answer has.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            stop: texts at which the answer ends.
            random_seed: of the sampling.

        Raises:
            RequestError: the provider did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        options = {
            "max_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "stop": stop,
            "random_seed": random_seed,
            "response_format": _response_format(shape or self.structured_output),
        }
        given = {name: value for name, value in options.items() if value is not None}
        answer = await self._sent(as_messages(conversation), given)
        usage, [choice, *_] = answer.usage, answer.choices
        text = _text(choice.message.content)
        output: GenerateOutput = {
            "generations": [text],
            "statistics": statistics(*told_tokens(usage, "prompt_tokens", "completion_tokens"), 1),
        }
        if text is None:
            output["unanswered"] = [no_text(choice.finish_reason)]
        return output

    def _batch_provider(self) -> BatchProvider | None:
        from distilmq.models.batches.mistral import MistralBatches

        return MistralBatches(self._loaded(), self.model, self._who()) if self.offline_batches else None

    async def _sent(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> Any:
        if (ticket := current_ticket.get()) is not None:
            answer = await ticket.post("/v1/chat/completions", {"messages": messages, **options})
        else:
            answer = await self._answered(messages, options)
        if not answer.choices or answer.choices[0].message is None:
            raise self._no_answer(answer)
        return answer

    async def _answered(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> Any:
        import httpx2
        from mistralai.client.errors import MistralError, NoResponseError

        client = self._loaded()
        try:
            return await client.chat.complete_async(model=self.model, messages=messages, **options)
        except MistralError as error:
            if error.status_code < 400:  # a proxy's page, or JSON that is no answer
                raise self._no_answer(error.body) from error
            raise self._status(error.status_code, error.body or error.message, error.headers) from error
        except (NoResponseError, httpx2.TransportError) as error:
            raise self._cut_off(error) from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:  # an answer that was cut short, or damaged
            raise self._not_json(error) from error


def _text(content: Any) -> str | None:
    """The text of an answer, which may come in chunks (some of a reasoning model's are thoughts)."""
    if content is None or isinstance(content, str):
        return content
    return "".join(chunk.text for chunk in content if getattr(chunk, "type", "") == "text") or None


def _response_format(shape: Any) -> dict[str, Any] | None:
    schema = json_schema(shape)
    if schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}

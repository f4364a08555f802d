"""Gemini models on Google's Vertex AI."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field, validate_call

from distilmq.errors import DistilmqUserError, RequestError, StepFatalError, TransientError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.api_llm import NamedApiLLM
from distilmq.models.llms.credentials import address_field
from distilmq.models.llms.parts import Image, Text, parts_of, text_of
from distilmq.models.llms.shapes import json_schema
from distilmq.models.llms.unanswered import no_text
from distilmq.models.llms.utils import as_messages, missing_library, split_input
from distilmq.models.requests.retries import seconds
from distilmq.models.requests.usage import statistics
from distilmq.typing import GenerateOutput, Logprob

if TYPE_CHECKING:
    from google.genai.errors import APIError

_URL = "GOOGLE_VERTEX_BASE_URL"
_REFUSALS = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")
"""Reasons for which an answer ends because of what it would say."""


class VertexAILLM(NamedApiLLM):
    """Asks a Gemini model on Vertex AI, with Google's application default credentials.

    System messages are sent as Gemini's system instruction, assistant messages as the model's turns.

    Attributes:
        model: the model's name, such as `gemini-2.5-flash`.
        project: of Google Cloud; from `GOOGLE_CLOUD_PROJECT` or the credentials when it is not given.
        location: of the model; from `GOOGLE_CLOUD_LOCATION` when it is not given, else `us-central1`.
        base_url: of the server; from `GOOGLE_VERTEX_BASE_URL` when it is not given, else Google's.
        timeout: seconds to wait for an answer.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema.

    Examples:
        ```python
        from distilmq.models import VertexAILLM

        llm = VertexAILLM(model="gemini-2.5-flash")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    project: RuntimeParameter[str] | None = Field(default=None, description="The project of Google Cloud.")
    location: RuntimeParameter[str] | None = Field(default=None, description="The location of the model.")
    base_url: RuntimeParameter[str] | None = address_field(_URL, None, "The base URL to use for the API requests.")

    operational_fields: ClassVar[frozenset[str]] = frozenset({"base_url", "location", "project"})
    price_provider: ClassVar[str | None] = "google"

    _num_generations_param_supported = False

    def load(self) -> None:
        """Makes the client.

        Raises:
            ImportError: `google-genai` is not installed.
            DistilmqUserError: the model is no Gemini model, or there are no credentials or no project.
        """
        super().load()
        if "gemini" not in self.model:
            raise DistilmqUserError(f"`VertexAILLM` asks Gemini models only, '{self.model}' is none.")
        try:
            from google.genai import Client
            from google.genai.types import HttpOptions, HttpRetryOptions
        except ImportError as error:
            raise missing_library("google-genai", "vertexai") from error
        credentials, project = self._credentials()
        options = HttpOptions(
            base_url=self.base_url,
            timeout=int((self.timeout or 120) * 1000),
            # There is one layer of retries, and it is ours; without this it sends again what a connection lost.
            retry_options=HttpRetryOptions(attempts=1),
        )
        self._aclient = Client(
            vertexai=True, credentials=credentials, project=project, location=self._location(), http_options=options
        )

    async def _close(self, client: Any) -> None:
        await client.aio.aclose()
        client.close()

    @validate_call
    async def agenerate(
        self,
        input: Any,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        max_output_tokens: int | None = None,
        stop_sequences: list[str] | None = None,
        safety_settings: dict[str, Any] | list[dict[str, Any]] | None = None,
        tools: list[dict[str, Any]] | None = None,
        logprobs: bool = False,
        top_logprobs: int | None = None,
    ) -> GenerateOutput:
        """Answers one conversation.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            top_k: how many of the likeliest tokens are sampled from.
            max_output_tokens: the most tokens that the answer has.
            stop_sequences: texts at which the answer ends.
            safety_settings: category of harm to the threshold of its filter.
            tools: function declarations that the model may call.
            logprobs: whether to give the log probabilities of the answer's tokens.
            top_logprobs: how many of the likeliest tokens to give at each place.

        Raises:
            RequestError: the provider did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        system, contents = as_contents(as_messages(conversation))
        config: dict[str, Any] = {
            "system_instruction": system,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "max_output_tokens": max_output_tokens,
            "stop_sequences": stop_sequences,
            "safety_settings": _safety(safety_settings),
            "tools": tools,
            "response_logprobs": logprobs or None,
            "logprobs": top_logprobs,
        }
        schema = json_schema(shape or self.structured_output)
        if schema is not None:
            config |= {"response_mime_type": "application/json", "response_json_schema": schema}
        answer = await self._sent(contents, {name: value for name, value in config.items() if value is not None})
        usage = answer.usage_metadata
        tokens = (usage.prompt_token_count, _output_tokens(usage)) if usage is not None else (None, None)
        text = self._text(answer)
        output: GenerateOutput = {"generations": [text], "statistics": statistics(*tokens, 1)}
        if text is None:
            output["unanswered"] = [no_text(_finish_reason(answer.candidates[0]))]
        if (found := answer.candidates[0].logprobs_result) is not None:
            output["logprobs"] = [_logprobs(found)]
        return output

    def _who(self) -> str:
        return f"'{self.model_name}' on Vertex AI"

    def _credentials(self) -> tuple[Any, str]:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError

        auth: Any = google.auth
        try:
            credentials, project = auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        except DefaultCredentialsError as error:
            raise DistilmqUserError(
                "To use `VertexAILLM` Google Cloud credentials must be found: run `gcloud auth application-default"
                f" login`, or set `GOOGLE_APPLICATION_CREDENTIALS` to a key file. Google says: {error}"
            ) from error
        project = self.project or os.environ.get("GOOGLE_CLOUD_PROJECT") or project
        if not project:
            raise DistilmqUserError("To use `VertexAILLM` set `project`, or `GOOGLE_CLOUD_PROJECT`.")
        return credentials, project

    def _location(self) -> str:
        return self.location or os.environ.get("GOOGLE_CLOUD_LOCATION") or "us-central1"

    async def _sent(self, contents: list[Any], config: dict[str, Any]) -> Any:
        import httpx2
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.genai.errors import APIError

        client = self._loaded()
        try:
            answer = await client.aio.models.generate_content(model=self.model, contents=contents, config=config)
        except APIError as error:
            raise self._translated(error) from error
        except TransportError as error:
            raise TransientError(f"{self._who()}: {error}") from error
        except GoogleAuthError as error:
            raise StepFatalError(f"{self._who()}: Google refuses the credentials: {error}") from error
        except (httpx2.TransportError, *_aiohttp_errors()) as error:
            raise self._cut_off(error) from error
        except (ValueError, TypeError) as error:  # an answer that was cut short, is damaged, or is no JSON at all
            raise self._not_json(error) from error
        blocked = getattr(answer.prompt_feedback, "block_reason", None)
        if blocked is not None:
            raise self._refusal(blocked.value)
        if not answer.candidates:
            raise self._no_answer(answer)
        return answer

    def _translated(self, error: APIError) -> RequestError | StepFatalError:
        told: Any = error
        headers = getattr(told.response, "headers", None)
        return self._status(error.code, f"{error.message} ({error.status})", headers, wait=_retry_delay(told.details))

    def _text(self, answer: Any) -> str | None:
        """The text of an answer; None where there is none.

        Raises:
            RefusedError: there is none because of what it would say.
        """
        candidate = answer.candidates[0]
        parts: list[Any] = (candidate.content.parts if candidate.content is not None else None) or []
        text = "".join(part.text for part in parts if part.text and not part.thought)
        if text:
            return text
        reason = _finish_reason(candidate)
        if reason in _REFUSALS:
            raise self._refusal(f"its finish reason is '{reason}'")
        return None


def _output_tokens(usage: Any) -> int | None:
    """Of the answer and of the thoughts before it; Google leaves out what is 0."""
    told = [count for count in (usage.candidates_token_count, usage.thoughts_token_count) if count is not None]
    return sum(told) if told else None


def _finish_reason(candidate: Any) -> str | None:
    return getattr(candidate.finish_reason, "value", None)


def as_contents(messages: list[dict[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
    """A conversation in Gemini's way: the system instruction apart, the assistant's messages as the model's."""
    system: list[str] = []
    contents: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] == "system":
            system.append(text_of(message["content"]))
        else:
            parts = [_part(part) for part in parts_of(message["content"])]
            contents.append({"role": "model" if message["role"] == "assistant" else "user", "parts": parts})
    return "\n\n".join(system) or None, contents


def _part(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if part.data is not None:
        return {"inline_data": {"mime_type": part.media_type, "data": base64.b64decode(part.data)}}
    return {"file_data": {"file_uri": part.url, "mime_type": part.media_type}}


def _logprobs(found: Any) -> list[list[Logprob]]:
    """Per token it and its likelihood; where several were asked for, the likeliest at each place."""
    tokens: list[Any] = found.chosen_candidates or []
    chosen: list[list[Any]] = [[token] for token in tokens]
    places: list[Any] = found.top_candidates or []
    likeliest: list[list[Any]] = [place.candidates for place in places]
    return [[{"token": each.token, "logprob": each.log_probability} for each in top] for top in likeliest or chosen]


def _safety(settings: dict[str, Any] | list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    if isinstance(settings, dict):
        return [{"category": category, "threshold": threshold} for category, threshold in settings.items()]
    return settings


def _retry_delay(told: Any) -> float | None:
    """Seconds in the `RetryInfo` of an error."""
    if not isinstance(told, dict):
        return None
    answer = cast("dict[str, Any]", told)
    error = cast("dict[str, Any]", answer.get("error", answer))
    for detail in cast("list[dict[str, Any]]", error.get("details") or []):
        if str(detail.get("@type", "")).endswith("RetryInfo"):
            return seconds(str(detail.get("retryDelay", "")))
    return None


def _aiohttp_errors() -> tuple[type[Exception], ...]:
    """What the client raises when it sends by aiohttp, which it does where aiohttp is installed."""
    try:
        from aiohttp import ClientError
    except ImportError:
        return (TimeoutError,)
    return (ClientError, TimeoutError)

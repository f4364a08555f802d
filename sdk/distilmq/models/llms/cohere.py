"""Cohere's chat API, in its second version, spoken without Cohere's library."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SecretStr, validate_call

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.api_llm import NamedApiLLM
from distilmq.models.llms.credentials import address_field, key_field, needed_key
from distilmq.models.llms.shapes import json_schema
from distilmq.models.llms.unanswered import no_text
from distilmq.models.llms.utils import as_messages, given, split_input
from distilmq.models.requests.http import JsonClient
from distilmq.models.requests.usage import statistics
from distilmq.typing import GenerateOutput

COHERE_URL = "https://api.cohere.com"
_KEY, _URL = "COHERE_API_KEY", "COHERE_BASE_URL"


class CohereLLM(NamedApiLLM):
    """Asks a model of Cohere.

    Several generations are as many requests.

    Attributes:
        model: the model's name.
        base_url: of the server; from `COHERE_BASE_URL` when it is not given, else Cohere's. A version at its end, as
            distilabel wants it, is passed over.
        api_key: from `COHERE_API_KEY` when it is not given.
        timeout: seconds to wait for an answer.
        client_name: who asks, as Cohere's statistics show it.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema.

    Examples:
        ```python
        from distilmq.models import CohereLLM

        llm = CohereLLM(model="command-a-03-2025")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    base_url: RuntimeParameter[str] | None = address_field(
        _URL, COHERE_URL, "The base URL to use for the Cohere API requests."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)
    client_name: RuntimeParameter[str] | None = Field(default="distilmq", description="The name of the client.")

    operational_fields: ClassVar[frozenset[str]] = frozenset({"api_key", "base_url", "client_name"})

    _num_generations_param_supported = False

    def check_key(self) -> None:
        """Raises DistilmqUserError if there is no key."""
        needed_key(self, _KEY)

    def load(self) -> None:
        """Makes the client.

        Raises:
            DistilmqUserError: there is no key.
        """
        super().load()
        headers = {"Authorization": f"Bearer {needed_key(self, _KEY)}", **given(**{"X-Client-Name": self.client_name})}
        self._aclient = JsonClient(self._address(), headers=headers, timeout=self.timeout)

    @validate_call
    async def agenerate(
        self,
        input: Any,
        temperature: float | None = None,
        max_tokens: int | None = None,
        k: int | None = None,
        p: float | None = None,
        seed: int | None = None,
        stop_sequences: list[str] | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        raw_prompting: bool | None = None,
        logprobs: bool = False,
    ) -> GenerateOutput:
        """Answers one conversation.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            temperature: of the sampling.
            max_tokens: the most tokens that the answer has.
            k: how many of the likeliest tokens are sampled from.
            p: share of the probability that is sampled from.
            seed: of the sampling.
            stop_sequences: texts at which the answer ends.
            frequency_penalty: against tokens the more often they came.
            presence_penalty: against tokens that came.
            raw_prompting: whether the model sees the text as it is, without Cohere's own words around it.
            logprobs: whether to give the log probabilities of the answer's tokens.

        Raises:
            RequestError: the provider did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": as_messages(conversation),
            "stream": False,
            **given(
                temperature=temperature,
                max_tokens=max_tokens,
                k=k,
                p=p,
                seed=seed,
                stop_sequences=stop_sequences,
                frequency_penalty=frequency_penalty,
                presence_penalty=presence_penalty,
                raw_prompting=raw_prompting,
                logprobs=logprobs or None,
                response_format=_response_format(json_schema(shape or self.structured_output)),
            ),
        }
        return self._output(await self._loaded().post("/v2/chat", body, who=self._who()))

    def _who(self) -> str:
        return f"'{self.model_name}' at {self.base_url}"

    def _address(self) -> str:
        url = (self.base_url or COHERE_URL).rstrip("/")
        return url.removesuffix("/v1").removesuffix("/v2")

    def _output(self, answer: dict[str, Any]) -> GenerateOutput:
        reason = answer.get("finish_reason")
        if reason in ("ERROR", "TIMEOUT") or not isinstance(answer.get("message"), dict):
            raise self._no_answer(answer)
        blocks: list[dict[str, Any]] = answer["message"].get("content") or []
        texts = [str(block["text"]) for block in blocks if "text" in block]  # others are thoughts
        if reason == "ERROR_TOXIC":
            raise self._refusal(f"its finish reason is '{reason}'", "".join(texts) or None)
        output: GenerateOutput = {
            "generations": ["".join(texts) if texts else None],
            "statistics": statistics(*_tokens(answer.get("usage") or {}), 1),
        }
        if not texts:
            output["unanswered"] = [no_text(reason)]
        chunks: list[dict[str, Any]] = answer.get("logprobs") or []
        if chunks:
            output["logprobs"] = [
                [[{"token": chunk["text"], "logprob": value}] for chunk in chunks for value in chunk["logprobs"]]
            ]
        return output


def _tokens(usage: dict[str, Any]) -> tuple[int | None, int | None]:
    """Tokens that went in and came out, which Cohere counts in floating-point numbers."""
    counted: dict[str, Any] = usage.get("tokens") or usage.get("billed_units") or {}
    told = (counted.get(name) for name in ("input_tokens", "output_tokens"))
    input, output = (int(number) if number is not None else None for number in told)
    return input, output


def _response_format(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    return {"type": "json_object", "json_schema": schema} if schema is not None else None

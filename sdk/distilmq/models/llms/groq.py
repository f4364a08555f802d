"""Open models on Groq's hardware."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import SecretStr, validate_call

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.credentials import address_field, key_field
from distilmq.models.llms.openai import OpenAILLM, json_response_format
from distilmq.models.llms.utils import as_messages, given, split_input
from distilmq.typing import GenerateOutput

GROQ_URL = "https://api.groq.com"
_KEY, _URL = "GROQ_API_KEY", "GROQ_BASE_URL"
_PATH = "/openai/v1"
"""Where below the server Groq speaks OpenAI's API; its own library adds this to `base_url`, so we do."""


class GroqLLM(OpenAILLM):
    """Asks a model of Groq, which speaks OpenAI's chat API.

    Groq gives one answer per request: several generations are as many requests.

    Attributes:
        model: the model's name.
        base_url: of the server, without `/openai/v1`; from `GROQ_BASE_URL` when it is not given, else Groq's.
        api_key: from `GROQ_API_KEY` when it is not given.

    Examples:
        ```python
        from distilmq.models import GroqLLM

        llm = GroqLLM(model="llama-3.3-70b-versatile")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    base_url: RuntimeParameter[str] | None = address_field(
        _URL, GROQ_URL, "The base URL to use for the Groq API requests."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)

    key_variable: ClassVar[str] = _KEY
    offline_batches: ClassVar[bool] = False
    counts_requests_per_day: ClassVar[bool] = True
    _num_generations_param_supported = False

    @validate_call
    async def agenerate(  # pyright: ignore[reportIncompatibleMethodOverride]  # its own arguments
        self,
        input: Any,
        seed: int | None = None,
        max_new_tokens: int = 128,
        temperature: float = 1.0,
        top_p: float = 1.0,
        stop: str | list[str] | None = None,
    ) -> GenerateOutput:
        """Answers one conversation.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            seed: of the sampling.
            max_new_tokens: the most tokens that the answer has.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            stop: texts at which the answer ends.

        Raises:
            RequestError: the provider did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        options = {
            "model": self.model,
            "messages": as_messages(conversation),
            "max_completion_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            **given(seed=seed, stop=stop, response_format=json_response_format(shape or self.structured_output)),
        }
        return self._chat(await self._sent("chat", options))

    def _address(self) -> str:
        url = (self.base_url or GROQ_URL).rstrip("/")
        return url if url.endswith("/v1") else f"{url}{_PATH}"

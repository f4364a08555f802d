"""Open models at Together AI."""

from __future__ import annotations

from typing import ClassVar

from pydantic import SecretStr

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.credentials import address_field, key_field
from distilmq.models.llms.openai import OpenAILLM

TOGETHER_URL = "https://api.together.xyz/v1"
_KEY, _URL = "TOGETHER_API_KEY", "TOGETHER_BASE_URL"


class TogetherLLM(OpenAILLM):
    """Asks a model of Together AI, which speaks OpenAI's chat API.

    Attributes:
        model: the model's name.
        base_url: of the server; from `TOGETHER_BASE_URL` when it is not given, else Together AI's.
        api_key: from `TOGETHER_API_KEY` when it is not given.

    Examples:
        ```python
        from distilmq.models import TogetherLLM

        llm = TogetherLLM(model="meta-llama/Llama-3.3-70B-Instruct-Turbo")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    base_url: RuntimeParameter[str] | None = address_field(
        _URL, TOGETHER_URL, "The base URL to use for the Together AI API requests."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)

    key_variable: ClassVar[str] = _KEY
    offline_batches: ClassVar[bool] = False

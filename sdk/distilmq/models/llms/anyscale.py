"""Models behind an Anyscale endpoint."""

from __future__ import annotations

from typing import ClassVar

from pydantic import SecretStr

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.credentials import address_field, key_field
from distilmq.models.llms.openai import OpenAILLM

ANYSCALE_URL = "https://api.endpoints.anyscale.com/v1"
_KEY, _URL = "ANYSCALE_API_KEY", "ANYSCALE_BASE_URL"


class AnyscaleLLM(OpenAILLM):
    """Asks a model of Anyscale, which speaks OpenAI's chat API.

    Attributes:
        model: the model's name.
        base_url: of the server; from `ANYSCALE_BASE_URL` when it is not given, else Anyscale's.
        api_key: from `ANYSCALE_API_KEY` when it is not given.

    Examples:
        ```python
        from distilmq.models import AnyscaleLLM

        llm = AnyscaleLLM(model="google/gemma-7b-it")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    base_url: RuntimeParameter[str] | None = address_field(
        _URL, ANYSCALE_URL, "The base URL to use for the Anyscale API requests."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)

    key_variable: ClassVar[str] = _KEY
    offline_batches: ClassVar[bool] = False

"""OpenAI's models in a resource of Microsoft Azure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.credentials import address_field, key_field
from distilmq.models.llms.openai import OpenAILLM

if TYPE_CHECKING:
    import openai

_KEY, _URL, _VERSION = "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION"
_NEW_NAME_SINCE = "2024-09"
"""Versions of the API from this month on know `max_completion_tokens`."""


class AzureOpenAILLM(OpenAILLM):
    """Asks a model that is deployed in Azure OpenAI.

    Attributes:
        model: the name of the deployment.
        base_url: of the resource, such as `https://example.openai.azure.com`; from `AZURE_OPENAI_ENDPOINT` when it is
            not given.
        api_key: from `AZURE_OPENAI_API_KEY` when it is not given.
        api_version: of the API, such as `2024-10-21`; from `OPENAI_API_VERSION` when it is not given.

    Examples:
        ```python
        from distilmq.models import AzureOpenAILLM

        llm = AzureOpenAILLM(model="my-deployment", api_version="2024-10-21")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    base_url: RuntimeParameter[str] | None = address_field(
        _URL, None, "The base URL to use for the Azure OpenAI API requests, i.e. the Azure OpenAI endpoint."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)
    api_version: RuntimeParameter[str] | None = Field(
        default_factory=lambda: os.environ.get(_VERSION),
        description="The API version to use for the API requests.",
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"api_version"})
    key_variable: ClassVar[str] = _KEY
    offline_batches: ClassVar[bool] = False

    def _client(self, library: Any) -> openai.AsyncOpenAI:
        for name, variable in (("base_url", _URL), ("api_version", _VERSION)):
            if not getattr(self, name):
                raise DistilmqUserError(
                    f"To use `AzureOpenAILLM` `{name}` must be given, or the environment variable `{variable}` set."
                )
        options = self._client_options(library)
        return library.AsyncAzureOpenAI(azure_endpoint=self.base_url, api_version=self.api_version, **options)

    def _max_tokens_name(self) -> Literal["max_completion_tokens", "max_tokens"]:
        return "max_completion_tokens" if (self.api_version or "") >= _NEW_NAME_SINCE else "max_tokens"

    def _at_openai(self) -> bool:
        return True  # whatever the resource's address is

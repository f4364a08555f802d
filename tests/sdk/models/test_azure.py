"""`AzureOpenAILLM` beyond the contract: versions of the API."""

from __future__ import annotations

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.models import AzureOpenAILLM
from tests.servers.providers import ProviderServer


@pytest.mark.parametrize(("version", "name"), [("2024-06-01", "max_tokens"), ("2024-10-21", "max_completion_tokens")])
def test_the_bound_has_the_name_that_the_version_knows(
    provider_server: ProviderServer, version: str, name: str
) -> None:
    llm = AzureOpenAILLM(model="my-deployment", api_version=version)
    llm.load()

    llm.generate_outputs([[{"role": "user", "content": "Hi"}]], max_new_tokens=7)

    llm.unload()
    [asked] = provider_server.asked
    assert (asked.model, asked.body[name]) == ("my-deployment", 7)


@pytest.mark.parametrize(
    ("variable", "field"), [("OPENAI_API_VERSION", "api_version"), ("AZURE_OPENAI_ENDPOINT", "base_url")]
)
def test_what_is_missing_is_named_with_its_variable(
    provider_server: ProviderServer, monkeypatch: pytest.MonkeyPatch, variable: str, field: str
) -> None:
    monkeypatch.delenv(variable)

    with pytest.raises(DistilmqUserError, match=f"`{field}` must be given, or the environment variable `{variable}`"):
        AzureOpenAILLM(model="my-deployment").load()

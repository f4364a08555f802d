"""`AzureOpenAILLM` beyond the contract: versions of the API."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from distilmq.errors import DistilmqUserError
from distilmq.models import AzureOpenAILLM
from tests.servers.providers import ProviderServer


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str


class Open(BaseModel):
    name: str


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


def test_a_schema_that_openai_can_hold_a_model_to_is_strict(provider_server: ProviderServer) -> None:
    bodies = []
    for schema in (Closed, Open):
        llm = AzureOpenAILLM(model="m", structured_output={"schema": schema, "max_retries": 0})
        llm.load()
        provider_server.says = lambda prompt: '{"name": "Lima"}'
        llm.generate_outputs([[{"role": "user", "content": "Hi"}]])
        llm.unload()
        bodies.append(provider_server.asked[-1].body["response_format"]["json_schema"])

    assert bodies == [
        {"name": "Closed", "schema": Closed.model_json_schema(), "strict": True},
        {"name": "Open", "schema": Open.model_json_schema()},
    ]


@pytest.mark.parametrize(
    ("variable", "field"), [("OPENAI_API_VERSION", "api_version"), ("AZURE_OPENAI_ENDPOINT", "base_url")]
)
def test_what_is_missing_is_named_with_its_variable(
    provider_server: ProviderServer, monkeypatch: pytest.MonkeyPatch, variable: str, field: str
) -> None:
    monkeypatch.delenv(variable)

    with pytest.raises(DistilmqUserError, match=f"`{field}` must be given, or the environment variable `{variable}`"):
        AzureOpenAILLM(model="my-deployment").load()

"""`GroqLLM` beyond the contract: where Groq speaks OpenAI's API."""

from __future__ import annotations

import logging

import pytest

from distilmq.models import GroqLLM, OpenAILLM
from tests.servers.providers import ProviderServer


@pytest.mark.parametrize("path", ["/groq", "/groq/", "/groq/openai/v1"])
def test_the_address_may_leave_out_the_path_of_the_api(provider_server: ProviderServer, path: str) -> None:
    llm = GroqLLM(model="m", base_url=provider_server.url + path)
    llm.load()

    [output] = llm.generate_outputs([[{"role": "user", "content": "Hi"}]], seed=3)

    llm.unload()
    assert output["generations"] == ["You said: Hi"]
    assert provider_server.asked[0].body["seed"] == 3


@pytest.mark.parametrize(("kind", "path", "told"), [(OpenAILLM, "/openai/v1", True), (GroqLLM, "/groq", False)])
def test_its_limit_of_a_day_is_not_taken_for_one_of_a_minute(
    provider_server: ProviderServer,
    caplog: pytest.LogCaptureFixture,
    kind: type[OpenAILLM],
    path: str,
    told: bool,
) -> None:
    provider_server.headers = {"x-ratelimit-limit-requests": "14400", "x-ratelimit-remaining-requests": "14370"}
    llm = kind(model="m", base_url=provider_server.url + path)
    llm.load()

    with caplog.at_level(logging.INFO):
        llm.generate_outputs([[{"role": "user", "content": "Hi"}]])

    llm.unload()
    assert ("'m' takes 14400 requests per minute, as its headers say." in caplog.messages) is told

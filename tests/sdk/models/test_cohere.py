"""`CohereLLM` beyond the contract: addresses, its own arguments, answers that are thoughts."""

from __future__ import annotations

import pytest

from distilmq.models import CohereLLM
from tests.servers.providers import ProviderServer


@pytest.mark.parametrize("version", ["", "/v1", "/v2"])
def test_a_version_in_the_address_is_passed_over(provider_server: ProviderServer, version: str) -> None:
    llm = CohereLLM(model="m", base_url=f"{provider_server.url}/cohere{version}")
    llm.load()

    [output] = llm.generate_outputs([[{"role": "user", "content": "Hi"}]], k=5, raw_prompting=True)

    llm.unload()
    [asked] = provider_server.asked
    assert output["generations"] == ["You said: Hi"]
    assert (asked.body["k"], asked.body["raw_prompting"]) == (5, True)
    assert asked.headers["X-Client-Name"] == "distilmq"

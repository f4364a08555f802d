"""`GroqLLM` beyond the contract: where Groq speaks OpenAI's API."""

from __future__ import annotations

import pytest

from distilmq.models import GroqLLM
from tests.servers.providers import ProviderServer


@pytest.mark.parametrize("path", ["/groq", "/groq/", "/groq/openai/v1"])
def test_the_address_may_leave_out_the_path_of_the_api(provider_server: ProviderServer, path: str) -> None:
    llm = GroqLLM(model="m", base_url=provider_server.url + path)
    llm.load()

    [output] = llm.generate_outputs([[{"role": "user", "content": "Hi"}]], seed=3)

    llm.unload()
    assert output["generations"] == ["You said: Hi"]
    assert provider_server.asked[0].body["seed"] == 3

"""`AnthropicLLM` beyond the contract: turns, and the arguments that not every model takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from distilmq.models import AnthropicLLM
from distilmq.models.llms.anthropic import as_turns
from tests.servers.providers import ProviderServer


@pytest.fixture
def llm(provider_server: ProviderServer) -> Iterator[AnthropicLLM]:
    model = AnthropicLLM(model="claude-haiku-4-5")
    model.load()
    yield model
    model.unload()


def test_what_the_system_says_stands_apart_from_the_turns() -> None:
    system, turns = as_turns(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello!"},
            {"role": "assistant", "content": "Hi."},
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        ]
    )

    assert system == "Be brief.\n\nBe kind."
    assert turns == [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."}]


def test_the_providers_own_temperature_is_not_sent(llm: AnthropicLLM, provider_server: ProviderServer) -> None:
    llm.generate_outputs([[{"role": "user", "content": "Hi"}]], temperature=1.0)

    assert "temperature" not in provider_server.asked[0].body


def test_how_to_sample_is_sent_where_it_is_given(llm: AnthropicLLM, provider_server: ProviderServer) -> None:
    llm.generate_outputs(
        [[{"role": "user", "content": "Hi"}]], temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["."]
    )

    body = provider_server.asked[0].body
    assert (body["temperature"], body["top_p"], body["top_k"], body["stop_sequences"]) == (0.5, 0.9, 3, ["."])

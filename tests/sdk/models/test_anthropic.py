"""`AnthropicLLM` beyond the contract: turns, arguments that not every model takes, and headers about limits."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

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


def test_the_limit_that_its_headers_name_is_kept_to(
    llm: AnthropicLLM, provider_server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    provider_server.headers = {"anthropic-ratelimit-requests-limit": "4000"}

    with caplog.at_level(logging.INFO, "distilmq.llm"):
        llm.generate_outputs([[{"role": "user", "content": "Hi"}]])

    assert "'claude-haiku-4-5' takes 4000 requests per minute, as its headers say." in caplog.messages


def test_where_no_request_remains_the_next_waits_for_the_time_that_its_headers_name(
    llm: AnthropicLLM, provider_server: ProviderServer
) -> None:
    whole_again = datetime.now(UTC) + timedelta(seconds=1.5)
    provider_server.headers = {
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": whole_again.isoformat().replace("+00:00", "Z"),
    }

    llm.generate_outputs([[{"role": "user", "content": "one"}]])
    llm.generate_outputs([[{"role": "user", "content": "two"}]])

    until = time.monotonic() + (whole_again - datetime.now(UTC)).total_seconds()
    assert provider_server.times[1] >= until - 0.1

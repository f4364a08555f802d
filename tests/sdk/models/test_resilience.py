"""How requests behave towards a provider that enforces quotas: judged by llmock, which sees every attempt."""

from __future__ import annotations

from typing import Any

import pytest

from distilmq import models
from distilmq.models import OpenAILLM

pytestmark = pytest.mark.may_leak("llmock keeps one server for the whole session")


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_every_row_is_answered_and_retry_after_kept_when_requests_are_limited(llmock: Any) -> None:
    llmock.rate_limit(times=3, retry_after=0.3)
    llm = OpenAILLM(model="gpt-4o-mini")
    llm.load()

    outputs = llm.generate_outputs([chat(f"row {number}") for number in range(6)])

    llm.unload()
    assert all(output["generations"][0] for output in outputs)
    llmock.assert_resilient()


@pytest.mark.parametrize(
    ("llm", "field", "path"),
    [
        ("AnthropicLLM", "base_url", "/anthropic"),
        ("CohereLLM", "base_url", "/cohere"),
        ("GroqLLM", "base_url", "/groq/openai/v1"),
        ("MistralLLM", "endpoint", "/mistral"),
        ("TogetherLLM", "base_url", "/together/v1"),
    ],
)
def test_other_providers_limits_are_kept_as_well(llmock: Any, llm: str, field: str, path: str) -> None:
    llmock.rate_limit(times=2, retry_after=0.2)
    asks = getattr(models, llm)(model="m", api_key="k", **{field: llmock.url + path})
    asks.load()

    outputs = asks.generate_outputs([chat(f"row {number}") for number in range(4)])

    asks.unload()
    assert all(output["generations"][0] for output in outputs)
    assert len(llmock.requests) == 6
    llmock.assert_resilient()


def test_a_prompt_that_is_too_long_is_not_tried_again(llmock: Any) -> None:
    llmock.context_overflow()
    llm = OpenAILLM(model="gpt-4o-mini")
    llm.load()

    with pytest.raises(Exception, match="maximum context length"):
        llm.generate_outputs([chat("long")])

    llm.unload()
    assert len(llmock.requests) == 1
    llmock.assert_resilient()

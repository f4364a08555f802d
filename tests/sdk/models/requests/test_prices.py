"""Prices: given ones, listed ones, and none where nobody knows."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from distilmq.models import LlamaCppLLM, MistralLLM, OpenAILLM, VertexAILLM
from distilmq.models.requests.prices import Listed, listed_cost, own_cost
from distilmq.testing import ScriptedLLM

OPENAI = "https://api.openai.com/v1"


def test_own_prices_are_dollars_per_million_tokens() -> None:
    assert own_cost({"input": 2.5, "output": 10}, 1_000_000, 100_000) == 3.5


@pytest.mark.parametrize(
    "listed",
    [
        Listed("gpt-4o-mini", url=OPENAI),
        Listed("mistral-small-latest", url="https://api.mistral.ai"),
        Listed("gemini-1.5-pro", provider="google"),
    ],
)
def test_the_list_knows_a_model_by_the_address_of_its_provider(listed: Listed) -> None:
    cost = listed_cost(listed, 1000, 1000)

    assert cost is not None
    assert 0 < cost < 1


@pytest.mark.parametrize(
    "listed",
    [
        Listed("gpt-4o-mini"),
        Listed("gpt-4o-mini", url="http://127.0.0.1:8000/v1"),
        Listed("gpt-4o-mini", url="http://my-vllm:8000/v1"),
        Listed("gpt-4o-mini", url="https://models.example.com/v1"),
        Listed("no-such-model", url=OPENAI),
    ],
)
def test_what_is_not_listed_has_no_price(listed: Listed) -> None:
    assert listed_cost(listed, 1000, 1000) is None


@pytest.mark.parametrize(
    "listed",
    [
        Listed("gpt-4o-mini", url=OPENAI),
        Listed("mistral-small-latest", url="https://api.mistral.ai"),
        Listed("claude-haiku-4-5", url="https://api.anthropic.com"),
    ],
)
def test_batch_jobs_have_a_price_of_their_own(listed: Listed) -> None:
    single, batch = listed_cost(listed, 1000, 1000), listed_cost(listed, 1000, 1000, batch=True)

    assert single is not None
    assert batch is not None
    assert 0 < batch < single


def test_a_price_of_single_requests_is_none_of_batch_jobs() -> None:
    groq = Listed("llama-3.3-70b-versatile", url="https://api.groq.com")

    assert listed_cost(groq, 1000, 1000) is not None
    assert listed_cost(groq, 1000, 1000, batch=True) is None


def test_a_model_that_is_asked_through_batch_jobs_costs_what_they_cost() -> None:
    single = OpenAILLM(model="gpt-4o-mini", base_url=OPENAI, api_key="k")
    batch = single.model_copy(update={"use_offline_batch_generation": True})

    assert (single.cost_of(10**6, 10**6), batch.cost_of(10**6, 10**6)) == (0.75, 0.375)


def test_the_models_that_come_with_distilmq_know_where_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "MISTRAL_BASE_URL", "GOOGLE_VERTEX_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    models: list[Any] = [
        OpenAILLM(model="gpt-4o-mini"),
        MistralLLM(model="mistral-small-latest"),
        VertexAILLM(model="gemini-1.5-pro"),
    ]

    assert [model.cost_of(1000, 1000) > 0 for model in models] == [True, True, True]
    assert OpenAILLM(model="gpt-4o-mini", base_url="http://127.0.0.1:1/v1").cost_of(1, 1) is None


def test_a_model_in_this_process_costs_nothing() -> None:
    assert LlamaCppLLM(model_path="model.gguf").cost_of(1000, 1000) == 0


def test_given_prices_come_before_listed_ones() -> None:
    llm = OpenAILLM(model="gpt-4o-mini", base_url=OPENAI, prices={"input": 1, "output": 2})

    assert llm.cost_of(1_000_000, 1_000_000) == 3


@pytest.mark.parametrize(
    ("prices", "words"),
    [({"input": 1}, "prices lack 'output'"), ({}, "'input' and 'output'"), ({"input": -1, "output": 1}, "greater")],
)
def test_prices_that_say_too_little_are_refused(prices: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ScriptedLLM(prices=prices)


def test_prices_do_not_change_what_comes_out() -> None:
    assert ScriptedLLM(prices={"input": 1, "output": 2}).signature == ScriptedLLM().signature

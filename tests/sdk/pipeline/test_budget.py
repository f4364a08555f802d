"""Bounds on what a run may cost: what is refused before it starts, and what is said when one is reached."""

from __future__ import annotations

from typing import Any

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.models import LLM, MixtureOfAgentsLLM
from distilmq.pipeline import Pipeline
from distilmq.pipeline.budget import budget_error, check_bounds, check_prices
from distilmq.pipeline.usage import ModelUsage, RunUsage
from distilmq.protocol.plan import RunSettings
from distilmq.steps import LoadDataFromDicts
from distilmq.steps.tasks import TextGeneration
from distilmq.testing import ScriptedLLM

USAGE = RunUsage(
    (
        ModelUsage("ask", "big", "w1", 40, 4000, 400, 0.4, 0.4, 1.0),
        ModelUsage("judge", "small", "w2", 10, 1000, 100, None, 0.1, 1.0),
    )
)


def pipeline_with(**llm: Any) -> Pipeline:
    with Pipeline("priced") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": "x"}])
        load >> TextGeneration(name="ask", llm=ScriptedLLM(model="big", **llm))
    return pipeline


def test_a_bound_on_money_needs_prices() -> None:
    with pytest.raises(DistilmqUserError) as raised:
        check_prices(pipeline_with().dag)

    said = str(raised.value)
    assert "'big' of step 'ask'" in said
    assert 'ScriptedLLM(..., prices={"input": 2.5, "output": 10})' in said
    check_prices(pipeline_with(prices={"input": 0, "output": 0}).dag)


def test_several_models_behind_one_task_are_paid_for_by_their_own_prices() -> None:
    def mixture(*prices: dict[str, float] | None, **own: Any) -> Pipeline:
        names = ("judge", "one", "two")
        models: list[LLM] = [ScriptedLLM(model=name, prices=told) for name, told in zip(names, prices, strict=True)]
        with Pipeline("mixed") as pipeline:
            load = LoadDataFromDicts(data=[{"instruction": "x"}])
            llm = MixtureOfAgentsLLM(aggregator_llm=models[0], proposers_llms=models[1:], **own)
            load >> TextGeneration(name="ask", llm=llm)
        return pipeline

    known = {"input": 1.0, "output": 2.0}
    check_prices(mixture(known, known, known).dag)
    with pytest.raises(DistilmqUserError) as raised:
        check_prices(mixture(known, None, known, prices=known).dag)

    said = str(raised.value)
    assert "not known: 'one' of step 'ask'. " in said
    assert 'ScriptedLLM(..., prices={"input"' in said


def test_a_run_with_a_bound_that_cannot_hold_does_not_start() -> None:
    with pytest.raises(DistilmqUserError, match="`max_cost` cannot hold"):
        pipeline_with().run(max_cost=1)


@pytest.mark.parametrize(
    "bounds",
    [(-1, None), (float("nan"), None), (float("inf"), None), (None, -5), ("1", None), (None, "5")],
)
def test_a_bound_that_bounds_nothing_is_refused(bounds: tuple[Any, Any]) -> None:
    with pytest.raises(DistilmqUserError, match="`max_"):
        check_bounds(*bounds)


def test_the_error_says_what_was_spent_by_whom_and_how_to_go_on() -> None:
    error = budget_error("max_cost", RunSettings(max_cost=0.5), USAGE)

    assert str(error) == (
        "The run was stopped by max_cost=0.5: $0.5000 spent (ask: $0.4000, judge: $0.1000) in 50 requests. Every"
        " answer that was paid for is kept: `run(max_cost=...)` with a higher bound goes on from here."
    )
    assert (error.bound, error.limit, error.cost, error.tokens) == ("max_cost", 0.5, 0.5, 5500)


def test_it_counts_tokens_where_they_are_bound() -> None:
    error = budget_error("max_tokens", RunSettings(max_tokens=5000), USAGE)

    assert "max_tokens=5000: 5,500 tokens spent (ask: 4,400, judge: 1,100)" in str(error)


def test_of_a_dry_run_nothing_is_kept() -> None:
    assert "Nothing of a dry run is kept." in str(budget_error("max_tokens", RunSettings(dry_run=True), USAGE))

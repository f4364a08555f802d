"""Bounds on what a run may cost: checked before it starts, explained when they are reached."""

from __future__ import annotations

import math
from decimal import Decimal
from numbers import Real
from typing import Any

from distilmq.errors import BudgetReachedError, DistilmqUserError
from distilmq.pipeline.dag import Dag
from distilmq.pipeline.usage import RunUsage, dollars
from distilmq.protocol.plan import RunSettings

_MODEL_FIELDS = ("llm", "embeddings", "image_generation_model")


def check_bounds(max_cost: float | None, max_tokens: int | None) -> None:
    """Raises DistilmqUserError for bounds that bound nothing."""
    if max_cost is not None and not (_is_number(max_cost) and math.isfinite(max_cost) and max_cost >= 0):
        raise DistilmqUserError(f"`max_cost` is an amount of US dollars, not {max_cost!r}.")
    if max_tokens is not None and not (_is_number(max_tokens) and max_tokens >= 0):
        raise DistilmqUserError(f"`max_tokens` is a number of tokens, not {max_tokens!r}.")


def _is_number(value: object) -> bool:
    """Whether it is one: a bound that was read from a file or the environment may be text."""
    return isinstance(value, (Real, Decimal))


def check_prices(dag: Dag) -> None:
    """Raises DistilmqUserError if a model has no price: a bound on money would not hold it back.

    An error and no warning: who sets a bound on money wants to be sure of it.
    """
    unknown = [
        (step, model)
        for step in dag
        for name in _MODEL_FIELDS
        for model in _billed(getattr(dag.steps[step], name, None))
        if not _has_price(model)
    ]
    if not unknown:
        return
    listed = ", ".join(f"'{_name(model)}' of step '{step}'" for step, model in unknown)
    kind = type(unknown[0][1]).__name__
    raise DistilmqUserError(
        f"`max_cost` cannot hold, since the prices of these models are not known: {listed}. Give them in US dollars per"
        f' million tokens, `{kind}(..., prices={{"input": 2.5, "output": 10}})`, with 0 for a server of your own; or'
        " bound the run by `max_tokens` instead.",
        page="how-to/costs.md",
    )


def budget_error(bound: str, settings: RunSettings, usage: RunUsage) -> BudgetReachedError:
    """The exception for a run that has reached a bound: what was spent, by which step, and how to go on."""
    money = bound == "max_cost"
    total = usage.total
    limit = float((settings.max_cost if money else settings.max_tokens) or 0)
    steps = {
        step: dollars(entry.known_cost) if money else f"{entry.known_tokens:,}" for step, entry in usage.by_step.items()
    }
    tokens = total.known_tokens
    spent = f"{dollars(total.known_cost)}" if money else f"{tokens:,} tokens"
    by = f" ({', '.join(f'{step}: {amount}' for step, amount in steps.items())})" if steps else ""
    shown = f"max_cost={limit:g}" if money else f"max_tokens={limit:.0f}"
    kept = (
        "Nothing of a dry run is kept."
        if settings.dry_run
        else f"Every answer that was paid for is kept: `run({bound}=...)` with a higher bound goes on from here."
    )
    return BudgetReachedError(
        f"The run was stopped by {shown}: {spent} spent{by} in {total.requests:,} requests.{_untold(usage)} {kept}",
        bound=bound,
        limit=limit,
        cost=total.known_cost,
        tokens=tokens,
    )


def _untold(usage: RunUsage) -> str:
    """What the bound was reckoned with for requests of which the models do not say what they took."""
    silent = [entry for entry in usage.by_model if entry.input_tokens is None or entry.output_tokens is None]
    if not silent:
        return ""
    models = ", ".join(f"'{entry.model}' of step '{entry.step}'" for entry in silent)
    return (
        f" Not all tokens of {models} are known, since the provider does not tell: a request without is taken for an"
        " average one, and where it tells of none, the bound cannot hold and the run ends after its first answers."
    )


def _billed(model: Any) -> list[Any]:
    """The models that a step's model asks, by whose prices it is paid for."""
    return [] if model is None else list(getattr(model, "billed_models", None) or [model])


def _has_price(model: Any) -> bool:
    cost_of = getattr(model, "cost_of", None)
    return cost_of is None or cost_of(1, 1) is not None


def _name(model: Any) -> str:
    return str(getattr(model, "model_name", type(model).__name__))

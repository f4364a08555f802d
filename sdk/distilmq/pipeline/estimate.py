"""What a run will take, by what a few rows of it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from distilmq.pipeline.usage import UNKNOWN, ModelUsage, RunUsage, dollars, table
from distilmq.protocol.plan import Plan

ROWS_WITHOUT_NUMBER = 1000
"""Estimated for when nobody knows how many rows there will be."""


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """What a step will ask of a model."""

    step: str
    model: str
    requests: int
    input_tokens: int | None
    """None when the model does not tell."""
    output_tokens: int | None
    """None when the model does not tell."""
    cost: float | None
    """US dollars; None when the price is not known."""
    seconds: float
    """From its first request to its last answer, if it always has rows to ask about."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take. Printed it is a table with a line for each step and model.

    It takes every row for an average one of those that were tried, and as many requests to be out at once as the
    model is told; where it learns that, as it begins with, so the time is rather too long.
    """

    rows: int
    """That it is for."""
    tried_rows: int
    tried_requests: int
    """That were sent, and paid for, to find it out."""
    steps: tuple[StepEstimate, ...]
    seconds: float
    """Of the whole run: steps that are loaded together work at the same time."""

    @property
    def requests(self) -> int:
        """In all."""
        return sum(step.requests for step in self.steps)

    @property
    def input_tokens(self) -> int | None:
        """In all; None when one of the models does not tell."""
        return _sum(step.input_tokens for step in self.steps)

    @property
    def output_tokens(self) -> int | None:
        """In all; None when one of the models does not tell."""
        return _sum(step.output_tokens for step in self.steps)

    @property
    def cost(self) -> float | None:
        """US dollars in all; None when the price of one of the models is not known."""
        costs = [step.cost for step in self.steps]
        return None if any(cost is None for cost in costs) else sum(cost or 0.0 for cost in costs)

    def __str__(self) -> str:
        head = f"Estimate for {self.rows:,} rows, by {self.tried_rows} tried with {self.tried_requests} requests"
        if not self.steps:
            return f"{head}: no model is asked."
        lines = [
            [step.step, step.model, *_shown(step), dollars(step.cost), duration(step.seconds)] for step in self.steps
        ]
        if len(lines) > 1:
            lines.append(["in all", "", *_shown(self), self._whole_cost(), duration(self.seconds)])
        columns = ["step", "model", "requests", "tokens in", "tokens out", "cost", "time"]
        return f"{head}:\n{table(columns, lines, left=2)}"

    def _whole_cost(self) -> str:
        known = sum(step.cost or 0.0 for step in self.steps)
        return f"≥ {dollars(known)}" if self.cost is None and known else dollars(self.cost)


def estimate(
    plan: Plan,
    usage: RunUsage,
    *,
    given: Mapping[str, int],
    known: Mapping[str, int | None],
    rows: int | None,
    at_once: Mapping[str, int],
) -> Estimate:
    """Scales what was tried to all rows.

    Args:
        plan: of what was tried.
        usage: what it took.
        given: rows that each generator gave.
        known: rows that each generator will give, where that is known.
        rows: that each of them will give, whatever is known.
        at_once: how many requests of a step are out at once, at most.
    """
    expected = {name: rows or known.get(name) or ROWS_WITHOUT_NUMBER for name in given}
    factors = {name: expected[name] / given[name] if given[name] else 0.0 for name in given}
    for step in plan.steps:
        if step.name not in factors:
            # Of several generators the one that gives most decides how often a step is called.
            factors[step.name] = max((factors.get(name, 0.0) for name in step.predecessors), default=0.0)
    steps = tuple(_scaled(entry, factors.get(entry.step, 0.0), at_once.get(entry.step, 1)) for entry in usage.by_model)
    return Estimate(
        rows=max(expected.values(), default=0),
        tried_rows=max(given.values(), default=0),
        tried_requests=usage.total.requests,
        steps=steps,
        seconds=_whole(steps, plan.stages or (tuple(step.name for step in plan.steps),)),
    )


def duration(seconds: float) -> str:
    """`4 s`, `3 min`, `2.5 h`: an estimate has no more figures."""
    if seconds < 1:
        return "< 1 s"
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _scaled(tried: ModelUsage, factor: float, at_once: int) -> StepEstimate:
    requests = round(tried.requests * factor)
    each = tried.seconds / tried.requests if tried.requests else 0.0
    return StepEstimate(
        step=tried.step,
        model=tried.model,
        requests=requests,
        input_tokens=None if tried.input_tokens is None else round(tried.input_tokens * factor),
        output_tokens=None if tried.output_tokens is None else round(tried.output_tokens * factor),
        cost=None if tried.cost is None else tried.cost * factor,
        seconds=each * requests / max(1, min(at_once, requests)),
    )


def _whole(steps: Sequence[StepEstimate], stages: Sequence[Sequence[str]]) -> float:
    each: dict[str, float] = {}
    for step in steps:
        each[step.step] = each.get(step.step, 0.0) + step.seconds
    return sum(max((each.get(name, 0.0) for name in stage), default=0.0) for stage in stages)


def _shown(counts: StepEstimate | Estimate) -> list[str]:
    tokens = (counts.input_tokens, counts.output_tokens)
    return [f"{counts.requests:,}", *(UNKNOWN if number is None else f"{number:,}" for number in tokens)]


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(number or 0 for number in known)

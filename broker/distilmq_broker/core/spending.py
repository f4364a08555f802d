"""What the run has had from models, what that says of the next requests, and whether a bound on it is reached.

Worker processes tell their totals so far. The later total of a process replaces the earlier one, so nothing is
counted twice, whatever is sent again, and what a lost message said is in the next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Literal

from distilmq.protocol.plan import RunSettings
from distilmq.protocol.usage import Usage

Bound = Literal["max_cost", "max_tokens"]

_CAUTION = 4.0
"""After one request the next is taken for five times as much, after a hundred for 1.4 times the average."""
_ALL = 1e9
"""Part of what is left where nothing is."""
_ROUNDING = 1e-9
"""Share of a bound on money by which sums of floats may miss it."""


class Spending:
    """Totals by step, worker process and model.

    For the bounds a request of which nobody says what it took is an average one of its step and model. Where nobody
    says it of any, a bound cannot hold: it is reached at once. What costs nothing, and is not counted, is not bounded.

    Invariants: no total ever shrinks; `of_run` is the sum of the totals of the steps, and each of these the sum of
    the latest totals of its processes.
    """

    def __init__(self, settings: RunSettings) -> None:
        self.of_run = Usage(model="")
        self._max_cost = settings.max_cost
        self._max_tokens = settings.max_tokens
        self._latest: dict[tuple[str, str, str], Usage] = {}
        self._of_steps: dict[str, dict[str, Usage]] = {}
        """By model."""

    def note(self, step: str, worker: str, usage: Usage) -> bool:
        """Takes the total of a process; tells whether it is news."""
        key = (step, worker, usage.model)
        known = self._latest.get(key)
        if not usage.requests or (known is not None and usage.requests <= known.requests):
            return False
        more = usage if known is None else _since(known, usage)
        self._latest[key] = usage
        models = self._of_steps.setdefault(step, {})
        models[usage.model] = models[usage.model].plus(more) if usage.model in models else more
        self.of_run = self.of_run.plus(more)
        return True

    def of_step(self, step: str) -> Usage:
        """What a step has had, of all models together."""
        return reduce(Usage.plus, self._of_steps.get(step, {}).values(), Usage(model=""))

    @property
    def bounded(self) -> bool:
        """Whether there is a bound."""
        return self._max_cost is not None or self._max_tokens is not None

    def part_of_rest(self, step: str) -> float | None:
        """The part of what is left of the bounds that one request of a step takes; None while nothing is known.

        It is taken for more than the average: by the less, the more requests there were.
        """
        had = self.of_step(step)
        if not had.requests:
            return None
        caution = 1 + _CAUTION / math.sqrt(had.requests)
        parts = [0.0]
        models = self._of_steps[step].values()
        if self._max_cost is not None:
            each = sum(map(_cost, models)) * caution / had.requests
            parts.append(_part(each, self._max_cost - self._sum(_cost)))
        if self._max_tokens is not None:
            each = sum(map(_tokens, models)) * caution / had.requests
            parts.append(_part(each, self._max_tokens - self._sum(_tokens)))
        return max(parts)

    def reached(self) -> Bound | None:
        """The bound that is reached, if one is."""
        if self._max_cost is not None and self._sum(_cost) >= self._max_cost * (1 - _ROUNDING):
            return "max_cost"
        if self._max_tokens is not None and self._sum(_tokens) >= self._max_tokens:
            return "max_tokens"
        return None

    def _sum(self, amount: Callable[[Usage], float]) -> float:
        return sum(amount(usage) for models in self._of_steps.values() for usage in models.values())


def _cost(usage: Usage) -> float:
    return _reckoned(usage.cost, usage.unpriced, usage.requests)


def _tokens(usage: Usage) -> float:
    if not usage.cost and not usage.unpriced:
        return usage.tokens
    inputs = _reckoned(usage.input_tokens, usage.input_untold, usage.requests)
    return inputs + _reckoned(usage.output_tokens, usage.output_untold, usage.requests)


def _reckoned(known: float, untold: int, requests: int) -> float:
    """What all requests took, the untold ones being like the others; infinite where there are no others."""
    if not untold:
        return known
    return known * requests / (requests - untold) if untold < requests else math.inf


def _part(amount: float, rest: float) -> float:
    return min(_ALL, amount / rest) if rest > 0 else _ALL


def _since(before: Usage, now: Usage) -> Usage:
    """What came on top; a total that shrank in a part, which only a broken peer has, gives nothing there."""
    return Usage.model_construct(
        model=now.model,
        requests=now.requests - before.requests,
        input_tokens=max(0, now.input_tokens - before.input_tokens),
        output_tokens=max(0, now.output_tokens - before.output_tokens),
        input_untold=max(0, now.input_untold - before.input_untold),
        output_untold=max(0, now.output_untold - before.output_untold),
        cost=max(0.0, now.cost - before.cost),
        unpriced=max(0, now.unpriced - before.unpriced),
        seconds=max(0.0, now.seconds - before.seconds),
    )

"""Counting what models took, wherever they are asked: each answered request once, whether its answer is kept or not."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from distilmq.protocol.usage import Usage


class Meter:
    """The totals of one process, by model; counted from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, Usage] = {}

    def count(self, usage: Usage) -> None:
        """Adds answered requests."""
        with self._lock:
            known = self._totals.get(usage.model)
            self._totals[usage.model] = usage if known is None else known.plus(usage)

    def totals(self) -> tuple[Usage, ...]:
        """Everything so far, a total for each model."""
        with self._lock:
            return tuple(self._totals.values())


current_meter: ContextVar[Meter | None] = ContextVar("current_meter", default=None)
"""Where requests are counted; None where no worker runs the step."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one request."""

    input: int | None
    """None where nobody says it."""
    output: int | None
    """None where it is not said of every generation."""


def tokens_in(output: Mapping[str, Any]) -> Tokens:
    """Input and output tokens of one request, as the statistics of its output tell them.

    A model that gives several answers may name the tokens of the one prompt for each of them: they were sent once.
    Different numbers are of different prompts. No prompt is empty: who says 0 of one does not tell.
    """
    statistics: Any = output.get("statistics") or {}
    inputs = [number for number in _numbers(statistics.get("input_tokens")) if number]
    outputs = _numbers(statistics.get("output_tokens"))
    together = inputs[0] if len(set(inputs)) == 1 else sum(inputs)
    known = [number for number in outputs if number is not None]
    return Tokens(together or None, sum(known) if known and len(known) == len(outputs) else None)


def _numbers(value: Any) -> list[int | None]:
    found = cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else [value]
    return [max(0, int(number)) if isinstance(number, (int, float)) else None for number in found]

"""The generations of one output of a model: one of them taken out, or put in the place of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from distilmq.models.requests.usage import repeated

Output = Mapping[str, Any]
Outcome = Output | Exception


def with_lost(output: Output, lost: Mapping[int, Exception]) -> Outcome:
    """An output without some of its generations, which are None, with the reasons; one of them if none is left."""
    if not lost:
        return output
    before = output.get("errors") or [None] * len(output["generations"])
    generations = [None if place in lost else text for place, text in enumerate(output["generations"])]
    if all(text is None for text in generations):
        return lost[min(lost)]
    return {
        **output,
        "generations": generations,
        "errors": [lost.get(place, error) for place, error in enumerate(before)],
    }


def replaced(output: Output, place: int, other: Output) -> dict[str, Any]:
    """An output whose generation at a place, with all that comes with it, is the only one of another output."""
    return _replaced(output, place, other, len(output["generations"]))


def _replaced(output: Mapping[str, Any], place: int, other: Mapping[str, Any], count: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in dict.fromkeys((*output, *other)):
        one, new = output.get(name), other.get(name)
        if isinstance(one, Mapping) or isinstance(new, Mapping):
            one, new = cast("Mapping[str, Any]", one or {}), cast("Mapping[str, Any]", new or {})
            made[name] = _replaced(one, place, new, count)
        else:
            made[name] = repeated(one, count)
            made[name][place] = repeated(new, 1)[0]
    return made

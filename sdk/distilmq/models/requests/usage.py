"""Tokens: what a model says that an answer took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from distilmq.typing import LLMStatistics


def statistics(input_tokens: int | None, output_tokens: int | Sequence[int] | None, generations: int) -> LLMStatistics:
    """Statistics of one request.

    Args:
        input_tokens: of the prompt; the same for each generation.
        output_tokens: per generation, or of all of them together: they are then shared out evenly.
        generations: how many there are.
    """
    if isinstance(output_tokens, Sequence):
        outputs = list(output_tokens)
    else:
        share, rest = divmod(output_tokens or 0, max(1, generations))
        outputs = [share + (1 if index < rest else 0) for index in range(generations)]
    return {"input_tokens": [input_tokens or 0], "output_tokens": outputs}


def repeated(values: Any, generations: int) -> list[Any]:
    """One value per generation: what is missing repeats the last."""
    known = list(cast("Sequence[Any]", values)) if isinstance(values, (list, tuple)) else [values]
    known = known or [None]
    return (known + [known[-1]] * generations)[:generations]


def per_generation(found: Mapping[str, Any] | None, generations: int) -> list[dict[str, Any]]:
    """Statistics of each generation by itself, with numbers instead of lists."""
    columns = {name: repeated(values, generations) for name, values in (found or {}).items()}
    return [{name: values[index] for name, values in columns.items()} for index in range(generations)]

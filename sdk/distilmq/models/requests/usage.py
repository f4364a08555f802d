"""Tokens: what a model says that an answer took; what it does not say is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from distilmq.typing import LLMStatistics


def statistics(input_tokens: int | None, output_tokens: int | Sequence[int] | None, generations: int) -> LLMStatistics:
    """Statistics of one request.

    Args:
        input_tokens: of the prompt; the same for each generation. None where the model does not tell.
        output_tokens: per generation, or of all of them together: they are then shared out evenly. None as well.
        generations: how many there are.
    """
    outputs: list[int | None]
    if isinstance(output_tokens, Sequence):
        outputs = list(output_tokens)
    elif output_tokens is None:
        outputs = [None] * generations
    else:
        share, rest = divmod(output_tokens, max(1, generations))
        outputs = [share + (1 if index < rest else 0) for index in range(generations)]
    return {"input_tokens": [input_tokens], "output_tokens": outputs}


def told_tokens(usage: Any, input: str, output: str) -> tuple[int | None, int | None]:
    """Tokens that went in and came out, by the provider's names for them; None for what its answer does not say.

    No prompt is empty: where a library tells of 0 tokens in it, it makes up for an answer that says nothing.
    """
    inputs, outputs = getattr(usage, input, None) or None, getattr(usage, output, None)
    return inputs, None if inputs is None and not outputs else outputs


def repeated(values: Any, generations: int) -> list[Any]:
    """One value per generation: what is missing repeats the last."""
    known = list(cast("Sequence[Any]", values)) if isinstance(values, (list, tuple)) else [values]
    known = known or [None]
    return (known + [known[-1]] * generations)[:generations]


def per_generation(found: Mapping[str, Any] | None, generations: int) -> list[dict[str, Any]]:
    """Statistics of each generation by itself, with numbers instead of lists."""
    columns = {name: repeated(values, generations) for name, values in (found or {}).items()}
    return [{name: values[index] for name, values in columns.items()} for index in range(generations)]

"""Conversations in OpenAI's format: lists of messages."""

from __future__ import annotations

from typing import Any


def is_openai_format(input: Any) -> bool:
    """Whether a value is a list of messages, each with a role and content; an empty one is none."""
    return (
        isinstance(input, list)
        and bool(input)  # pyright: ignore[reportUnknownArgumentType]  # a list of anything
        and all(isinstance(item, dict) and "role" in item and "content" in item for item in input)  # pyright: ignore[reportUnknownVariableType]  # ditto
    )

"""Conversations in OpenAI's format: lists of messages."""

from __future__ import annotations

from typing import Any


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of messages, each with a role and content."""
    return (
        isinstance(value, list)
        and bool(value)  # pyright: ignore[reportUnknownArgumentType]  # a list of anything
        and all(isinstance(item, dict) and "role" in item and "content" in item for item in value)  # pyright: ignore[reportUnknownVariableType]  # ditto
    )

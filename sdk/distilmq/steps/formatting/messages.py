"""Conversations, and the hash that names a prompt."""

from __future__ import annotations

import hashlib
from typing import Any

from distilmq.typing import Row


def chat(instruction: str, system_prompt: str | None = None) -> list[dict[str, Any]]:
    """A conversation that begins: what the user says, behind the system prompt if there is one."""
    begun = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*begun, {"role": "user", "content": instruction}]


def answered(messages: list[dict[str, Any]], answer: str | None) -> list[dict[str, Any]]:
    """A conversation with one more answer."""
    return [*messages, {"role": "assistant", "content": answer}]


def prompt_id(prompt: str) -> str:
    """The SHA-256 of a prompt: equal prompts have equal ids."""
    return hashlib.sha256(prompt.encode("utf-8")).hexdigest()


def last_user_message(row: Row) -> str:
    """What the user said last in a row's `messages`."""
    return next((str(item["content"]) for item in reversed(row["messages"]) if item["role"] == "user"), "")

"""The prompt of a task, in the terminal."""

from __future__ import annotations

import json
from typing import Any

from distilmq.models.llms.utils import as_messages, split_input

_STYLES = {"system": "magenta", "user": "cyan", "assistant": "green"}


def show_prompt(name: str, asked: Any) -> None:
    """Prints what a model is asked: one panel per message, and the shape of the answer where one is asked for."""
    from rich.console import Console, Group
    from rich.panel import Panel
    from rich.text import Text

    conversation, shape = split_input(asked)
    panels = [
        Panel(
            Text(_text(message.get("content"))),
            title=f"{message.get('role', 'user').capitalize()} Message",
            border_style=_STYLES.get(message.get("role", ""), "white"),
        )
        for message in as_messages(conversation)
    ]
    if shape is not None:
        panels.append(Panel(Text(_text(shape)), title="Structured Output"))
    Console().print(Panel(Group(*panels), title=f"Prompt: {name}"))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, indent=2, default=str, ensure_ascii=False)

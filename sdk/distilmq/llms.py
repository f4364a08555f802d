"""distilabel's old import path for language models."""

from __future__ import annotations

from typing import Any

from distilmq.models import llms


def __getattr__(name: str) -> Any:
    return getattr(llms, name)


def __dir__() -> list[str]:
    return dir(llms)

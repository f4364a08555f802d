"""vLLM's engines in this process, as the classes that run one start it, ask it and end it."""

from __future__ import annotations

import gc
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from uuid import uuid4

from distilmq.errors import DistilmqUserError, InvalidRequestError, RequestError, StepFatalError
from distilmq.models.llms.utils import optional_library

_EXTRA = "vllm"
_AT_ONCE = 256
"""Requests that vLLM works on at once at most, where nothing else is said."""


def started_engine(options: Mapping[str, Any]) -> Any:
    """An engine (`vllm.LLM`) with its weights loaded.

    Args:
        options: arguments of its class.

    Raises:
        ImportError: `vllm` is not installed.
    """
    return optional_library("vllm", _EXTRA).LLM(**options)


def started_async_engine(options: Mapping[str, Any]) -> Any:
    """An engine that takes requests while it works on others (`vllm.AsyncLLMEngine`), with its weights loaded.

    Args:
        options: arguments of `vllm.AsyncEngineArgs`.

    Raises:
        ImportError: `vllm` is not installed.
        DistilmqUserError: it does not know one of the arguments.
    """
    library = optional_library("vllm", _EXTRA)
    try:
        arguments = library.AsyncEngineArgs(**{"disable_log_stats": True, **options})
    except TypeError as error:
        raise DistilmqUserError(f"`extra_kwargs` of `vLLM` has what its engine does not take: {error}") from error
    return library.AsyncLLMEngine.from_engine_args(arguments)


async def answered(engine: Any, prompt: Mapping[str, Any], sampling: Any) -> Any:
    """The engine's last word on a prompt (`vllm.RequestOutput`), with all answers.

    Args:
        engine: as `started_async_engine` gives it.
        prompt: its text or its tokens.
        sampling: `vllm.SamplingParams`.
    """
    outputs: list[Any] = [each async for each in engine.generate(prompt, sampling, uuid4().hex)]
    return outputs[-1]


@contextmanager
def errors_of(model: str) -> Generator[None]:
    """Around a request: gives vLLM's errors as ours.

    Args:
        model: its name.

    Raises:
        InvalidRequestError: the engine does not take the request.
        RequestError: it failed at it.
        StepFatalError: it has died.
    """
    engines = optional_library("vllm.v1.engine.exceptions", _EXTRA)
    refusals = _refusals()
    try:
        yield
    except engines.EngineDeadError as error:
        raise StepFatalError(f"'{model}': vLLM's engine has died: {error}") from error
    except engines.EngineGenerateError as error:
        raise RequestError(f"'{model}': vLLM failed at this request: {error.__cause__ or error}") from error
    except refusals as error:
        raise InvalidRequestError(f"'{model}': vLLM does not take this request: {error}") from error


def _refusals() -> tuple[type[Exception], ...]:
    """What vLLM raises for a request that is wrong: a ValueError, until it had a class of its own."""
    try:
        own: Any = import_module("vllm.exceptions").VLLMClientError
    except (ImportError, AttributeError):
        return (ValueError,)
    return (ValueError, own)


def requests_at_once(engine: Any, options: Mapping[str, Any] | None) -> int:
    """How many requests an engine works on at once at most.

    Args:
        engine: as `started_async_engine` gives it; None for one that is not started.
        options: what it is told.
    """
    if engine is not None:
        return int(engine.vllm_config.scheduler_config.max_num_seqs)
    return int((options or {}).get("max_num_seqs") or _AT_ONCE)


def released(engine: Any) -> None:
    """Ends an engine's processes and gives the GPU's memory back; None is no engine."""
    if engine is None:
        return
    getattr(engine, "llm_engine", engine).engine_core.shutdown()
    del engine
    gc.collect()
    torch = optional_library("torch", _EXTRA)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def gpus_wanted(options: Mapping[str, Any] | None) -> int:
    """How many GPUs an engine with these arguments takes."""
    given = options or {}
    return int(given.get("tensor_parallel_size") or 1) * int(given.get("pipeline_parallel_size") or 1)

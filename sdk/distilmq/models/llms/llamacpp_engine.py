"""llama.cpp's server engine in this process, as the classes that run GGUF files start it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distilmq.errors import DistilmqUserError, RequestError, StepFatalError, TooLongError
from distilmq.models.llms.utils import missing_library
from distilmq.models.requests.retries import error_for_status

_MANY_LAYERS = 999
_TOO_LARGE = "too large to process"


def engine_library() -> Any:
    """`xllamacpp`, which has no types.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import xllamacpp  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types
    except ImportError as error:
        raise missing_library("xllamacpp", "llama-cpp") from error
    return xllamacpp


def engine_parameters(library: Any, path: Path, *, n_gpu_layers: int | None, n_batch: int, verbose: bool | None) -> Any:
    """Parameters of an engine for one file.

    Args:
        library: as `engine_library` gives it.
        path: of the GGUF file.
        n_gpu_layers: layers that go to the GPU; all when negative.
        n_batch: tokens of prompts that are worked on at once.
        verbose: whether it tells what it does on the standard error.
    """
    parameters = library.CommonParams()
    parameters.model.path = str(path)
    parameters.n_batch = n_batch
    parameters.n_gpu_layers = _MANY_LAYERS if (n_gpu_layers or 0) < 0 else n_gpu_layers
    parameters.warmup = False
    parameters.webui = False
    parameters.verbosity = 1 if verbose else -1
    return parameters


def set_further(parameters: Any, given: Mapping[str, Any] | None, *, who: str) -> None:
    """Sets what `extra_kwargs` name.

    Raises:
        DistilmqUserError: the engine has no such parameter.
    """
    for name, value in (given or {}).items():
        if not hasattr(parameters, name):
            raise DistilmqUserError(f"`extra_kwargs` of `{who}` name '{name}', which llama.cpp does not have.")
        setattr(parameters, name, value)


def started_engine(library: Any, parameters: Any, path: Path) -> Any:
    """An engine with its weights loaded.

    Raises:
        DistilmqUserError: llama.cpp cannot load the file.
    """
    try:
        return library.Server(parameters)
    except RuntimeError as error:
        raise DistilmqUserError(f"llama.cpp cannot load '{path}': {error}") from error


def as_answer(given: Any, *, who: str) -> dict[str, Any]:
    """What the engine answered.

    Raises:
        RequestError: it answered with an error.
    """
    answer: dict[str, Any] = json.loads(given) if isinstance(given, (str, bytes)) else given
    if "error" in answer:
        raise _error(answer["error"], who)
    return answer


def _error(told: Mapping[str, Any], who: str) -> RequestError | StepFatalError:
    message = str(told.get("message", ""))
    if _TOO_LARGE in message:  # told as a fault of the engine's
        return TooLongError(f"{who}: {message}")
    return error_for_status(int(told.get("code", 400)), message, who=who)

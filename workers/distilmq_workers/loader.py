"""A step from its definition: rebuilt, given its secrets and its folder, and loaded."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilmq.errors import DistilmqUserError
from distilmq.protocol.messages import Assign

if TYPE_CHECKING:
    from distilmq.steps.base import _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of the base class


def load_step(assign: Assign, definition: bytes, artifacts: Path | str, data: Path | None = None) -> _Step:
    """The step of an assignment, after its `load()`.

    Args:
        assign: what the coordinator said about it.
        definition: the step by cloudpickle.
        artifacts: folder where it saves artifacts.
        data: folder with the files that its data came in; None where there are none.

    Raises:
        DistilmqUserError: it was pickled by another minor version of Python: loading it may crash the interpreter.
        BaseException: whatever the user's code raises when it is imported, rebuilt or loaded.
    """
    check_python(assign.python)
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

    from distilmq.mixins.secrets import give_secrets
    from distilmq.steps.base import GeneratorStep

    pickle: Any = cloudpickle
    step: _Step = pickle.loads(definition)
    give_secrets(step, {**assign.secrets, **_from_environment(assign.variables)})
    step.keep_artifacts_in(artifacts)
    if data is not None and isinstance(step, GeneratorStep):
        step.find_data(data)
    step.load()
    return step


def _from_environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {field: value for field, variable in variables.items() if (value := os.environ.get(variable))}


def python_minor() -> str:
    """The minor version of this interpreter, as plans name it."""
    return ".".join(platform.python_version_tuple()[:2])


def check_python(pickled_by: str) -> None:
    """Raises DistilmqUserError for a definition that another minor version of Python pickled."""
    if pickled_by and pickled_by != python_minor():
        raise DistilmqUserError(
            f"the pipeline was submitted with Python {pickled_by}, and this worker runs {python_minor()}:"
            f" start the worker with Python {pickled_by}"
        )

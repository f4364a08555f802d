"""Reading the parameters of `process`: where its input comes in, and whether it takes several."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from distilmq.errors import DistilmqTypeError


class _Marker:
    """Says that a parameter of `process` takes rows."""

    def __repr__(self) -> str:
        return "step input"

    def __reduce__(self) -> str:
        return "STEP_INPUT"


STEP_INPUT: Final = _Marker()

StepInput = Annotated[list[dict[str, Any]], STEP_INPUT]
"""Annotates the parameter of `process` that takes rows: one list, or `*args` with one list per predecessor."""


def parameters_of(process: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a `process` function, without `self`, their annotations evaluated."""
    hints = _hints(process)
    found = inspect.signature(process).parameters.values()
    return [
        parameter.replace(annotation=hints.get(parameter.name, parameter.annotation))
        for parameter in found
        if parameter.name != "self"
    ]


def step_input_of(parameters: list[inspect.Parameter], step: str) -> inspect.Parameter | None:
    """The parameter that takes rows, if there is one.

    Raises:
        DistilmqTypeError: there are two.
    """
    found = [parameter for parameter in parameters if is_step_input(parameter)]
    if len(found) > 1:
        raise DistilmqTypeError(f"Step '{step}' should have only one parameter with type hint `StepInput`.")
    return found[0] if found else None


def is_step_input(parameter: inspect.Parameter) -> bool:
    """Whether a parameter is annotated with `StepInput`."""
    annotation = parameter.annotation
    if isinstance(annotation, str):  # names that only exist for type checkers
        return annotation.split(".")[-1] == "StepInput"
    return get_origin(annotation) is Annotated and STEP_INPUT in get_args(annotation)


def _hints(process: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(process, include_extras=True)
    except Exception:  # noqa: BLE001  # a quoted annotation is the user's code: whatever it raises, it stays quoted
        return {}

"""Runtime parameters of a pipeline: setting them, and finding those that are missing."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from distilmq.errors import DistilmqUserError
from distilmq.pipeline.dag import Dag
from distilmq.steps.base import _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it
from distilmq.typing import PipelineRuntimeParametersInfo

Parameters = Mapping[str, Mapping[str, Any]]
"""Step to parameter to value; those of a nested model in a mapping again."""

_log = logging.getLogger("distilmq.pipeline")


def set_parameters(dag: Dag, parameters: Parameters | None) -> None:
    """Sets runtime parameters; a step that does not exist is a warning that names the nearest."""
    if parameters is not None and not isinstance(parameters, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # ditto
        raise DistilmqUserError(
            f"`parameters` have to be a mapping of step to parameters, not a '{type(parameters).__name__}':"
            ' pipeline.run(parameters={"step": {"parameter": value}})'
        )
    for name, values in (parameters or {}).items():
        if name not in dag.steps:
            _log.warning("%s", _unknown_step(name, dag))
            continue
        if not isinstance(values, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # what the user wrote is checked here
            raise DistilmqUserError(
                f"The parameters of step '{name}' have to be a mapping of parameter to value, not a"
                f' \'{type(values).__name__}\': pipeline.run(parameters={{"{name}": {{"parameter": value}}}})'
            )
        _set(dag.steps[name], values)


def _set(step: _Step, values: Mapping[str, Any]) -> None:
    try:
        step.set_runtime_parameters(_own(values))
    except ValidationError as error:
        raise DistilmqUserError(f"The parameters of step '{step.name}' do not fit: {told(error)}") from error


def told(error: ValidationError) -> str:
    """What pydantic found wrong, in a line: each field with its value and the reason."""
    return "; ".join(
        f"`{'.'.join(map(str, found['loc']))}` cannot be {found['input']!r:.100}: {found['msg']}"
        for found in error.errors(include_url=False)
    )


def parameters_info(dag: Dag) -> PipelineRuntimeParametersInfo:
    """What can be set, step by step."""
    return {name: step.get_runtime_parameters_info() for name, step in dag.steps.items()}


def check_parameters(step: _Step) -> None:
    """Raises when a required runtime parameter of a step has no value.

    Raises:
        DistilmqUserError: the message shows the call that sets it.
    """
    missing = next(_missing(step, step.runtime_parameters_names), None)
    if missing is None:
        return
    snippet = '"..."'
    for part in reversed(missing):
        snippet = f'{{"{part}": {snippet}}}'
    raise DistilmqUserError(
        f"Step '{step.name}' is missing required runtime parameter '{'.'.join(missing)}'. Please, provide a value for"
        f' it when calling `Pipeline.run` method:\n\n    pipeline.run(parameters={{"{step.name}": {snippet}}})'
    )


def _missing(owner: Any, names: Mapping[str, Any]) -> Iterator[list[str]]:
    """Paths of required parameters without a value."""
    for name, optional in names.items():
        value = _value(owner, name)
        if isinstance(optional, Mapping):
            for path in _missing(value, cast("Mapping[str, Any]", optional)):
                yield [name, *path]
        elif not optional and value is None:
            yield [name]


def _value(owner: Any, name: str) -> Any:
    if isinstance(owner, Mapping):
        return cast("Mapping[str, Any]", owner).get(name)
    if isinstance(owner, list):
        items = cast("list[Any]", owner)
        return items[int(name)] if name.isdecimal() and int(name) < len(items) else None
    return getattr(owner, name, None) if isinstance(owner, BaseModel) else None


def _unknown_step(name: str, dag: Dag) -> str:
    near = difflib.get_close_matches(name, dag.steps, n=1, cutoff=0.5)
    nearest = f" Did you mean '{near[0]}'?" if near else ""
    return (
        f"Step '{name}' provided in `Pipeline.run(parameters={{...}})` not found in the pipeline: its parameters are"
        f" not used.{nearest} Available steps are: {', '.join(dag.steps)}."
    )


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings of our own, so that nothing writes into the caller's."""
    return {
        name: _own(cast("Mapping[str, Any]", value)) if type(value) is dict else value for name, value in values.items()
    }

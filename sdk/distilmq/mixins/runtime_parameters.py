"""Runtime parameters: fields of steps and models that `Pipeline.run(parameters=…)` may set."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, PrivateAttr
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticUndefined, core_schema

from distilmq.typing import RuntimeParameterInfo, RuntimeParametersNames
from distilmq.utils.docstring import described_parameters

T = TypeVar("T")


class _Marker:
    """Says that a field is a runtime parameter, and gives it the default None.

    The default is put in here because a `Field(default=None)` in the annotation makes pydantic warn wherever the
    parameter is part of an `Optional[...]`.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=None)

    def __repr__(self) -> str:
        return "runtime parameter"

    def __reduce__(self) -> str:
        return "RUNTIME_PARAMETER"


RUNTIME_PARAMETER: Final = _Marker()

RuntimeParameter = Annotated[T | None, RUNTIME_PARAMETER]
"""A field that can be set when the pipeline runs, and must be when it has no default.

`Optional[RuntimeParameter[T]]` with the default None may stay unset.
"""

_log = logging.getLogger("distilmq.runtime_parameters")


class RuntimeParametersMixin(BaseModel):
    """A model with runtime parameters, its own and those of models it holds."""

    _runtime_parameters: dict[str, Any] = PrivateAttr(default_factory=dict[str, Any])

    @property
    def runtime_parameters_names(self) -> RuntimeParametersNames:
        """Each runtime parameter with whether it is optional; nested models and lists of them as dicts."""
        names: RuntimeParametersNames = {}
        for name, field in type(self).model_fields.items():
            nested = _nested(getattr(self, name, None))
            if nested is not None:
                names[name] = {key: model.runtime_parameters_names for key, model in nested.items()}
                if "" in nested:
                    names[name] = names[name][""]
            elif is_runtime_parameter(field):
                names[name] = _is_optional(field)
        return names

    def get_runtime_parameters_info(self) -> list[RuntimeParameterInfo]:
        """Name, whether it is optional and description of each runtime parameter, nested ones included."""
        infos: list[RuntimeParameterInfo] = []
        for name, field in type(self).model_fields.items():
            nested = _nested(getattr(self, name, None))
            if nested is not None:
                each: dict[str, Any] = {key: model.get_runtime_parameters_info() for key, model in nested.items()}
                infos.append({"name": name, "runtime_parameters_info": each.get("", each)})
            elif is_runtime_parameter(field):
                infos.append(
                    {
                        "name": name,
                        "optional": _is_optional(field),
                        "description": field.description or _descriptions(type(self)).get(name),
                    }
                )
        return infos

    def set_runtime_parameters(self, runtime_parameters: Mapping[str, Any]) -> None:
        """Sets the parameters given; one that does not exist is a warning that names the nearest.

        Raises:
            pydantic.ValidationError: a value does not fit its field.
        """
        known = self.runtime_parameters_names
        for name, value in runtime_parameters.items():
            if name not in known:
                self._warn_unknown(name, list(known))
                continue
            nested = _nested(getattr(self, name, None))
            if nested is not None and isinstance(value, Mapping):
                self._set_nested(name, nested, value)  # pyright: ignore[reportUnknownArgumentType]  # a Mapping of anything
            else:
                # validated whether or not the class validates on assignment: strings become SecretStr, numbers, …
                self.__pydantic_validator__.validate_assignment(self, name, value)
            self._runtime_parameters[name] = value

    def _set_nested(self, name: str, nested: dict[str, RuntimeParametersMixin], values: Mapping[str, Any]) -> None:
        if "" in nested:
            nested[""].set_runtime_parameters(values)
            return
        for index, value in values.items():
            if str(index) in nested:
                nested[str(index)].set_runtime_parameters(value)
            else:
                self._warn_unknown(f"{name}.{index}", [f"{name}.{key}" for key in nested])

    def _warn_unknown(self, name: str, known: list[str]) -> None:
        owner = getattr(self, "name", None) or type(self).__name__
        near = difflib.get_close_matches(name, known, cutoff=0.5)
        hint = f" Did you mean any of: {near}?" if near else f" Available runtime parameters: {known}."
        _log.warning("Runtime parameter '%s' unknown in '%s'.%s", name, owner, hint)


RuntimeParametersModelMixin = RuntimeParametersMixin


def is_runtime_parameter(field: FieldInfo) -> bool:
    """Whether a field can be set by `Pipeline.run(parameters=…)`."""
    return RUNTIME_PARAMETER in field.metadata or _holds_marker(field.annotation)


def _is_optional(field: FieldInfo) -> bool:
    if RUNTIME_PARAMETER not in field.metadata:  # Optional[RuntimeParameter[T]]
        return True
    return field.default_factory is not None or not (field.default is None or field.default is PydanticUndefined)


def _holds_marker(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return RUNTIME_PARAMETER in get_args(annotation)[1:]
    return any(get_origin(part) is Annotated and RUNTIME_PARAMETER in get_args(part) for part in get_args(annotation))


def _nested(value: Any) -> dict[str, RuntimeParametersMixin] | None:
    """The models within a field that have runtime parameters: one under `""`, those of a list by string index."""
    if isinstance(value, RuntimeParametersMixin):
        return {"": value}
    if isinstance(value, list):
        models = {str(i): item for i, item in enumerate(value) if isinstance(item, RuntimeParametersMixin)}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # a list of anything
        return models or None
    return None


@cache
def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a class and its bases say about each field, the nearest class first."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel and base.__dict__.get("__doc__"):
            found.update(described_parameters(base))
    return found

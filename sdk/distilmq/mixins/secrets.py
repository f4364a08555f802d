"""Secrets of a model: where they are, how they are left out of everything that is kept, how they come back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr


def secret_values(model: BaseModel) -> dict[str, str]:
    """Every secret within a model: dotted field (`llm.api_key`, `llms.0.api_key`) to its value."""
    return {path: value for path, _, _, value in _secrets(model, "")}


def secret_variables(model: BaseModel) -> dict[str, str]:
    """The same fields, each to the environment variable that its value comes from; empty for one that was given."""
    variables: dict[str, str] = {}
    for path, owner, name, value in _secrets(model, ""):
        variable = str(getattr(type(owner).model_fields[name].default_factory, "variable", ""))
        variables[path] = variable if variable and os.environ.get(variable) == value else ""
    return variables


def give_secrets(model: BaseModel, values: Mapping[str, str]) -> None:
    """Puts secrets back where `secret_values` found them; a path that does not exist is passed over."""
    for path, value in values.items():
        *parents, field = path.split(".")
        owner: Any = model
        for parent in parents:
            owner = _child(owner, parent)
        if isinstance(owner, BaseModel) and field in type(owner).model_fields:
            vars(owner)[field] = SecretStr(value)


def without_secrets(state: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of one model with its secrets as None; nested models see to their own."""
    return {name: None if isinstance(value, (SecretStr, SecretBytes)) else value for name, value in state.items()}


def _secrets(model: BaseModel, prefix: str) -> Iterator[tuple[str, BaseModel, str, str]]:
    for name in type(model).model_fields:
        value = model.__dict__.get(name)
        if isinstance(value, SecretStr):
            yield prefix + name, model, name, value.get_secret_value()
        else:
            for path, child in nested_models(value, prefix + name):
                yield from _secrets(child, path + ".")


def nested_models(value: Any, path: str = "") -> Iterator[tuple[str, BaseModel]]:
    """The models within a field, with their dotted paths: itself, those of a list, those of a dict."""
    if isinstance(value, BaseModel):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("list[Any]", value)):
            if isinstance(item, BaseModel):
                yield f"{path}.{index}", item
    elif isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            if isinstance(item, BaseModel):
                yield f"{path}.{key}", item


def _child(owner: Any, name: str) -> Any:
    if isinstance(owner, BaseModel):
        return owner.__dict__.get(name)
    if isinstance(owner, (list, tuple)):
        items = cast("list[Any]", owner)
        return items[int(name)] if name.isdigit() and int(name) < len(items) else None
    if isinstance(owner, dict):
        return cast("dict[str, Any]", owner).get(name)
    return None

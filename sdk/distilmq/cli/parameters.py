"""`--param step.key=value`: to the parameters of `Pipeline.run`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from distilmq.errors import DistilmqUserError
from distilmq.utils.option_values import pair

_FORM = "step.key=value or step.llm.key=value"
_WRONG_FORM = "Runtime parameters must be in the format `key.subkey=value`: "


def parse_parameters(texts: Iterable[str], steps: Mapping[str, BaseModel]) -> dict[str, dict[str, Any]]:
    """The parameters in `step.key=value` texts.

    The longest prefix that is a step's name is the step, since names may hold dots; without one it ends at
    the first dot. Values are texts, which the fields turn into what they hold; within a plain dict, such as
    `generation_kwargs`, a value that is JSON is what it says.

    Raises:
        DistilmqUserError: a text has another form.
    """
    parameters: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, value = pair(text, f"{_WRONG_FORM}--param", _FORM)
        step, keys = _split(path, steps)
        if not step or not keys or not all(keys):
            raise DistilmqUserError(f"{_WRONG_FORM}--param takes {_FORM}, not {text!r}")
        target = parameters.setdefault(step, {})
        for key in keys[:-1]:
            inner = target.setdefault(key, {})
            if not isinstance(inner, dict):
                raise DistilmqUserError(f"'{text}' gives a value below '{key}', which another --param gives a value.")
            target = cast("dict[str, Any]", inner)
        target[keys[-1]] = _from_json(value) if _is_free(steps.get(step), keys[:-1]) else value
    return parameters


def _split(path: str, steps: Collection[str]) -> tuple[str, list[str]]:
    parts = path.split(".")
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        if name in steps:
            return name, parts[count:]
    return parts[0], parts[1:]


def _is_free(owner: Any, keys: Iterable[str]) -> bool:
    """Whether the keys lead into a plain dict, whose values no field turns into what they should be."""
    for key in keys:
        if isinstance(owner, BaseModel):
            owner = getattr(owner, key, None)
        elif isinstance(owner, list):
            items = cast("list[Any]", owner)
            owner = items[int(key)] if key.isdecimal() and int(key) < len(items) else None
    return isinstance(owner, dict)


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

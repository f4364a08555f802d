"""What in a step or a function keeps it from being pickled: the variable or attribute, by its name."""

from __future__ import annotations

import inspect
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from distilmq.pipeline import by_value

_DEEP = 12
"""Steps on the way to it; it is named as far as that."""

Place = tuple[str, Any]
"""A name as it is told to users, and what stands there."""


def culprit(value: object) -> str | None:
    """The name of what cannot be pickled, as `the variable 'lock' in 'my_step'`; None where it is not found."""
    seen: set[int] = set()
    told = ""
    for _ in range(_DEEP):
        seen.add(id(value))
        found = next(
            (
                (name, part)
                for name, part in _parts(value)
                if id(part) not in seen and not isinstance(part, types.ModuleType) and not _pickles(part)
            ),
            None,
        )
        if found is None:
            break
        told, value = found
    return told or None


def _parts(value: Any) -> Iterator[Place]:
    """What is pickled with a value, where it goes by value."""
    if isinstance(value, types.MethodType):
        value = value.__func__
    if isinstance(value, (staticmethod, classmethod, property)):
        value = getattr(cast("Any", value), "__func__", None) or getattr(cast("Any", value), "fget", None)
    if isinstance(value, types.FunctionType):
        yield from _of_function(inspect.unwrap(value))
    elif isinstance(value, type):
        yield from ((f"'{name}' of the class '{value.__name__}'", part) for name, part in vars(value).items())
    elif isinstance(value, Mapping):
        yield from ((f"the value under {key!r}", part) for key, part in cast("Mapping[Any, Any]", value).items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        members = cast("Collection[Any]", value)
        yield from ((f"a member of a {type(members).__name__}", part) for part in members)
    else:
        yield from _of_object(value)


def _of_function(function: Any) -> Iterator[Place]:
    used = inspect.getclosurevars(function)
    for where, variables in (("module-level variable", used.globals), ("variable", used.nonlocals)):
        yield from ((f"the {where} '{name}' that '{function.__name__}' uses", each) for name, each in variables.items())
    yield from ((f"a default of '{function.__name__}'", default) for default in function.__defaults__ or ())


def _of_object(value: Any) -> Iterator[Place]:
    kind = cast("type[Any]", type(value))
    attributes: dict[str, Any] = {
        **getattr(value, "__dict__", {}),
        **(getattr(value, "__pydantic_private__", None) or {}),
    }
    yield from (
        (f"the attribute '{name}' of `{kind.__name__}`", part)
        for name, part in attributes.items()
        if name != "pipeline"
    )
    for base in kind.__mro__[:-1]:
        for name, part in vars(base).items():
            if isinstance(part, (types.FunctionType, staticmethod, classmethod, property)):
                yield f"'{name}' of the class '{base.__name__}'", part


def _pickles(value: object) -> bool:
    if isinstance(value, (staticmethod, classmethod, property)):
        return all(_pickles(part) for _, part in _parts(value))
    try:
        by_value.dumps(value)
    except Exception:  # noqa: BLE001  # the user's own code may raise anything while it is pickled
        return False
    return True

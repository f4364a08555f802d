"""What of a model belongs to the process that loaded it, and stays there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def without_process_bound(model: type[BaseModel], state: Mapping[Any, Any]) -> dict[Any, Any]:
    """A model's pickled state with the private attributes that `process_bound` names as they are by default.

    Args:
        model: the class; what its bases name is added.
        state: as `__getstate__` gives it.
    """
    kept = dict(state)
    bound = {name for base in model.__mro__ for name in base.__dict__.get("process_bound", frozenset[str]())}
    private = kept.get("__pydantic_private__")
    if private is not None:
        defaults = model.__private_attributes__
        kept["__pydantic_private__"] = {
            name: defaults[name].get_default() if name in bound else value for name, value in private.items()
        }
    return kept

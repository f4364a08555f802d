"""Pickling what no other process can import, without what only happened to be near it."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

_NEARBY = "__pydantic_parent_namespace__"
"""Where pydantic keeps the variables of the function in which a model's class was made, to read its annotations."""


def dumps(value: object) -> bytes:
    """As `cloudpickle.dumps`; classes of pydantic go without the variables around them.

    Args:
        value: to be pickled. Whatever its pickling raises is raised.
    """
    buffer = io.BytesIO()
    _pickler()(buffer).dump(value)
    return buffer.getvalue()


@cache
def _pickler() -> Any:
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

    base: Any = cloudpickle.Pickler

    class Pickler(base):
        def reducer_override(self, obj: Any) -> Any:
            reduced: Any = base.reducer_override(self, obj)
            if isinstance(obj, type) and reduced is not NotImplemented and getattr(obj, "__pydantic_complete__", False):
                reduced[2][0].pop(_NEARBY, None)  # the class is whole: nothing is looked up there any more
            return reduced

    return Pickler

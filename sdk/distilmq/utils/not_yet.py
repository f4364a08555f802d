"""Names of distilabel's API that are not built yet: importing one says so.

A package lists them as `NOT_YET` in its `__init__`, which the docs' list is made from as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def window(
    package: str, places: Mapping[str, str], not_yet: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that imports what it offers when it is first asked for it.

    Args:
        package: its `__name__`.
        places: public name to the module that owns it.
        not_yet: public names of distilabel that are not built.

    Example:
        ```python
        from distilmq.utils.not_yet import window

        __getattr__, __dir__ = window(__name__, {"OpenAILLM": "distilmq.models.llms.openai"}, ["vLLM"])
        ```
    """
    missing = frozenset(not_yet)

    def __getattr__(name: str) -> Any:
        if name in places:
            found = getattr(importlib.import_module(places[name]), name)
            importlib.import_module(package).__dict__[name] = found
            return found
        if name in missing:
            raise ImportError(f"'{package}.{name}' is not in distilmq yet", name=package)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    def __dir__() -> list[str]:
        return sorted(places)

    return __getattr__, __dir__

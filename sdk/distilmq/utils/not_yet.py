"""Names of distilabel's API that are not built yet: importing one says so.

A package lists them as `NOT_YET` in its `__init__`, which the docs' list is made from as well.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_MISSING_MODULES: set[str] = set()


class _Finder:
    """Asked by Python last, when no other finder knows a module."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Refuses modules that are not built yet, and knows none."""
        if name in _MISSING_MODULES:
            raise ImportError(f"'{name}' is not in distilmq yet", name=name)
        return None


sys.meta_path.append(_Finder)


def missing_modules() -> list[str]:
    """The dotted paths of the modules that are not built, of all packages that are imported."""
    return sorted(_MISSING_MODULES)


def window(
    package: str, places: Mapping[str, str], not_yet: Iterable[str] = (), *, modules: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that imports what it offers when it is first asked for it.

    Args:
        package: its `__name__`.
        places: public name to the module that owns it.
        not_yet: public names of distilabel that are not built.
        modules: modules of distilabel's package of that name that are not built.

    Example:
        ```python
        from distilmq.utils.not_yet import window

        __getattr__, __dir__ = window(__name__, {"OpenAILLM": "distilmq.models.llms.openai"}, ["vLLM"])
        ```
    """
    missing = frozenset(not_yet)
    _MISSING_MODULES.update(f"{package}.{module}" for module in modules)

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

"""Saying which packages a class needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

ClassT = TypeVar("ClassT", bound="type[Any]")


def requirements(requirements: list[str]) -> Callable[[ClassT], ClassT]:
    """Says which packages a step, task or model needs, as pip writes it (`nltk>=3.8`).

    Args:
        requirements: of the class; those of its bases are added.

    Example:
        ```python
        from distilmq.steps import Step
        from distilmq.utils.requirements import requirements

        @requirements(["nltk"])
        class CountSentences(Step): ...
        ```
    """

    def decorator(decorated: ClassT) -> ClassT:
        inherited = requirements_of(decorated)
        decorated.requirements = sorted({*inherited, *requirements})
        return decorated

    return decorator


def requirements_of(decorated: Any) -> list[str]:
    """The packages that a class, or an object of it, needs."""
    found = getattr(decorated, "requirements", None)
    return list(cast("Iterable[str]", found)) if isinstance(found, (list, tuple)) else []

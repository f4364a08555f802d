"""Columns of a step as its author gives them: a list, or a dict with what is required."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from distilmq.errors import DistilmqTypeError
from distilmq.typing import StepColumns


def as_requirements(columns: StepColumns) -> dict[str, bool]:
    """Each column with whether it is required; those of a list all are.

    Raises:
        DistilmqTypeError: a text stands there, whose letters would be taken for columns.
    """
    if isinstance(columns, str):
        raise DistilmqTypeError(f"Columns are a list or a dict, not the text '{columns}': write ['{columns}'].")
    return dict(columns) if isinstance(columns, dict) else dict.fromkeys(columns, True)


def renamed(columns: Mapping[str, bool], mappings: Mapping[str, str]) -> dict[str, bool]:
    """The columns under the names that mappings give them."""
    return {mappings.get(name, name): required for name, required in columns.items()}


def unique(names: Iterable[str]) -> list[str]:
    """The names, each once, in the order in which they come first."""
    return list(dict.fromkeys(names))

"""Names of steps: what they may be, and one for a step that was given none."""

from __future__ import annotations

import re
from typing import Any

from distilmq.constants import STEP_NAME_PATTERN
from distilmq.steps.declaring import Declaring

_LONGEST = 200
"""A step's files lie in folders of its name, and file systems know no longer ones than 255 characters."""


def valid_name(name: Any) -> Any:
    """A step's name, or a refusal that proposes one."""
    if name is None:
        return ""
    if not isinstance(name, str) or not name or _fits(name):
        return name
    proposed = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")[:_LONGEST]
    raise ValueError(
        f"'{name}' cannot be the name of a step: only letters, digits, '_', '-' and '.' can be part of it, not only"
        f" dots, and no more than {_LONGEST} of them. '{proposed if _fits(proposed) else 'step'}' would do."
    )


def free_name(class_name: str, pipeline: Declaring | None) -> str:
    """A class's name in snake case with the first index that no step of the pipeline has."""
    stem = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", class_name).lower()
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem)
    index = 0
    while pipeline is not None and pipeline.has_step(f"{stem}_{index}"):
        index += 1
    return f"{stem}_{index}"


def _fits(name: str) -> bool:
    return re.fullmatch(STEP_NAME_PATTERN, name) is not None and set(name) != {"."} and len(name) <= _LONGEST

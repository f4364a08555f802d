"""Generators that do not look at `offset`: begun again, they give the rows again that are recorded.

Whether one looks at it, its code says. Whether it has begun at the beginning, its first row says: one that keeps its
place elsewhere (in a queue, in a file) gives another one, and all that it gives is new. Where both say so, as many rows
are passed over as are recorded.
"""

from __future__ import annotations

import dis
import inspect
import logging
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

Row = dict[str, Any]
Given = tuple[list[Row], bool]

_log = logging.getLogger("distilmq.steps")

_ANY_NAME = frozenset({"locals", "vars", "eval", "exec"})
"""What calls one of these may look at any of its parameters."""


def looks_at(function: object, parameter: str) -> bool:
    """Whether a function may look at one of its parameters; of one whose code is not there, it has to be assumed."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return True
    if code.co_flags & inspect.CO_VARKEYWORDS or _ANY_NAME & {*code.co_names}:
        return True
    if parameter in code.co_cellvars:
        return True
    named = (instruction.argval for instruction in dis.get_instructions(code) if "LOAD" in instruction.opname)
    return any(parameter == name or (isinstance(name, tuple) and parameter in name) for name in named)


def passed_over(given: Iterator[Given], rows: int, is_first: Callable[[Row], bool]) -> Iterator[Given]:
    """What a generator gives, without as many rows as are recorded, if it has begun at the beginning.

    Args:
        given: pairs of rows, and whether they are the last.
        rows: recorded.
        is_first: whether a row is the one that was recorded first.
    """
    left: int | None = None
    for batch, last in given:
        if left is None and batch:
            left = rows if is_first(batch[0]) else 0
            if left:
                _log.warning("`process` does not look at `offset`: %d rows that are recorded are passed over", left)
        passed = min(left or 0, len(batch))
        if left is not None:
            left -= passed
        if passed == len(batch) and passed and not last:
            continue
        yield batch[passed:], last

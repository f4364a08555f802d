"""Whether what a step raised at rows means that this worker lacks a package: another worker may have it.

The rows are not at fault then. What is meant is a module that no import finds here, neither among what is installed
nor among what came with the plan; one that is found, and whose own imports are wrong, is the user's to mend. And code
that was made while the step ran, such as what a model wrote and `exec` runs, imports what it likes: its row fails.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from typing import cast

from distilmq.errors import RequestsFailedError, RowsFailedError

_TYPED = ("<stdin>", "<ipython-input")
"""What Python names the code of scripts that come by a pipe, and of cells of a notebook."""


def lacking(error: BaseException) -> ImportError | None:
    """The import that failed for want of a package, by the outermost error that speaks of it; None for any other error.

    Args:
        error: what the step raised; it may stand for several rows, and be raised from the one that is meant.
    """
    waiting: list[tuple[BaseException, ImportError | None]] = [(error, None)]
    seen: set[int] = set()
    while waiting:
        each, told = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, ImportError):
            told = told or each
            if isinstance(each, ModuleNotFoundError) and _is_missing(each.name) and not _was_made_here(each):
                return told
        waiting += [(inner, told) for inner in _within(each)]
    return None


def _within(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, RowsFailedError | RequestsFailedError):
        yield from error.failures.values()
    if isinstance(error, BaseExceptionGroup):
        yield from cast("BaseExceptionGroup[BaseException]", error).exceptions
    if error.__cause__ is not None:
        yield error.__cause__
    elif isinstance(error, ImportError) and error.__context__ is not None and not error.__suppress_context__:
        # Of any other error it says only where it was raised: in the `except` of an import that may fail, with what
        # does the work of the missing package.
        yield error.__context__


def _was_made_here(error: BaseException) -> bool:
    """Whether the import stands in code that lies in no file, but for what somebody has typed."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    importing = next((file for file in reversed(files) if not file.startswith("<frozen")), "")
    return importing.startswith("<") and not importing.startswith(_TYPED)


def _is_missing(module: str | None) -> bool:
    top = (module or "").partition(".")[0]
    if not top:
        return False
    try:
        return find_spec(top) is None
    except (ImportError, AttributeError, ValueError):
        # It is here, in a way that finders do not understand: `__main__`, or put into `sys.modules` by hand.
        return False

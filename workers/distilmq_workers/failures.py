"""Exceptions of the user's code, as text that shows the user's lines and not ours."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, cast

from distilmq.protocol.messages import ErrorInfo

_OURS = (str(Path(__file__).parent), str(Path("distilmq") / "steps" / "base.py"))
_LARGEST_PICKLE = 65_536


def describe(error: BaseException) -> ErrorInfo:
    """An exception as data: type, message, traceback, and a pickle where it can be pickled."""
    return ErrorInfo(
        type=type(error).__name__, message=str(error), traceback=_traceback(error), pickled=_pickled(error)
    )


def short(error: ErrorInfo) -> str:
    """One line, as `distilmq_metadata` carries it."""
    first_line = error.message.splitlines()[0] if error.message else ""
    return f"{error.type}: {first_line[:500]}" if first_line else error.type


def _traceback(error: BaseException) -> str:
    told = traceback.TracebackException.from_exception(error, compact=True)
    told.stack = traceback.StackSummary.from_list(
        frame for frame in told.stack if not any(ours in frame.filename for ours in _OURS)
    )
    return "".join(told.format())


def _pickled(error: BaseException) -> bytes | None:
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]  # the library ships no stubs

    try:
        pickled = cast(Any, cloudpickle).dumps(error)
    except Exception:  # noqa: BLE001  # the user's exception may raise anything while it is pickled: text remains
        return None
    return pickled if len(pickled) <= _LARGEST_PICKLE else None

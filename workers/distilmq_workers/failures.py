"""Exceptions of the user's code as values, and the rows that stand for rows that failed."""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from distilmq.constants import DISTILMQ_METADATA_KEY, ERROR_PREFIX
from distilmq.protocol.messages import ErrorInfo, RowFailure

Row = dict[str, Any]

MAX_MESSAGE = 10_000
"""Characters of an exception's own text."""
MAX_SHORT_MESSAGE = 500
"""Characters of what is written into a failed row."""
MAX_TRACEBACK = 100_000
MAX_PICKLED = 64 * 1024
MAX_ANSWER = 100_000
"""Characters of what a model said about a row that failed."""
HEADER_BUDGET = 2 * 1024 * 1024
"""Bytes of all failures of one result: they travel in its header, which is limited."""

_OURS = (str(Path(__file__).parent), str(Path("distilmq", "steps", "base.py")))
"""Frames of these files at the top of a traceback say nothing to the user."""


def describe(error: BaseException) -> ErrorInfo:
    """An exception as text, with itself pickled where that is possible."""
    return ErrorInfo(
        type=_type_name(error),
        message=_readable(_message(error)[:MAX_MESSAGE]),
        traceback=_readable(_abridged(_traceback(error))),
        pickled=_pickled(error),
    )


def attempts_of(error: BaseException) -> int:
    """How often the row was tried: a request that was sent again says so on its error."""
    attempts = getattr(error, "attempts", 1)
    return attempts if isinstance(attempts, int) and attempts > 0 else 1


def answer_of(error: BaseException) -> str | None:
    """What the model said, where the error tells."""
    answer = getattr(error, "answer", None)
    return answer[:MAX_ANSWER] if isinstance(answer, str) else None


def short(error: ErrorInfo) -> str:
    """One line: `ValueError: no such column`."""
    line = error.message.strip().splitlines()[0] if error.message.strip() else ""
    return f"{error.type}: {line}"[:MAX_SHORT_MESSAGE] if line else error.type


def together(branches: Sequence[Row]) -> Row:
    """One row of the rows that a join takes at one place: the earlier branch's value stands."""
    row: Row = {}
    for branch in branches:
        row = {**branch, **row}
    return row


def failed_row(row: Row, *, step: str, outputs: Iterable[str], error: ErrorInfo) -> Row:
    """What comes out of a step for a row that made it raise."""
    metadata: Any = row.get(DISTILMQ_METADATA_KEY)
    marked: Row = {**metadata} if isinstance(metadata, dict) else {}
    marked[f"{ERROR_PREFIX}{step}"] = short(error)
    return {**row, **dict.fromkeys(outputs), DISTILMQ_METADATA_KEY: marked}


def within_budget(failures: Sequence[RowFailure], budget: int = HEADER_BUDGET) -> tuple[RowFailure, ...]:
    """The failures, the later of them without traceback and, if need be, without input when they are many."""
    spent = 0
    kept: list[RowFailure] = []
    for failure in failures:
        size = _size(failure)
        if spent + size > budget:
            bare = failure.error.model_copy(
                update={"traceback": "", "pickled": None, "message": short(failure.error)[:MAX_SHORT_MESSAGE]}
            )
            failure = failure.model_copy(update={"error": bare})
            size = _size(failure)
        if spent + size > budget:
            failure = failure.model_copy(update={"input": b"", "answer": None})
            size = _size(failure)
        spent += size
        kept.append(failure)
    return tuple(kept)


def _size(failure: RowFailure) -> int:
    error = failure.error
    text = len(error.message) + len(error.traceback) + len(error.type)
    useless = 100 * len(failure.useless)
    # A character may take several bytes; most take one.
    return 100 + 2 * text + len(error.pickled or b"") + len(failure.input) + 2 * len(failure.answer or "") + useless


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if hasattr(builtins, kind.__name__) else kind.__qualname__.rpartition("<locals>.")[2]


def _readable(text: str) -> str:
    """Text with half surrogate pairs spelled out: it stands in rows, logs and terminals, which are UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _abridged(text: str) -> str:
    """A traceback without its middle if it is long: where it begins and what was raised are at its ends."""
    if len(text) <= MAX_TRACEBACK:
        return text
    end = MAX_TRACEBACK // 2
    return f"{text[:end]}\n… {len(text) - 2 * end:,} characters …\n{text[-end:]}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # it is the user's own `__str__`
        return "(its text cannot be made: its __str__ raises)"


def _traceback(error: BaseException) -> str:
    trace = _without_ours(error.__traceback__)
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception:  # noqa: BLE001  # formatting calls the user's code, which may raise
        return "".join(traceback.format_tb(trace)) + f"{_type_name(error)}: {_message(error)}\n"


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    inner = trace
    while inner is not None and _is_ours(inner.tb_frame.f_code.co_filename):
        inner = inner.tb_next
    # All of it ours: then it is what there is to see.
    return trace if inner is None else inner


def _is_ours(file: str) -> bool:
    return file.startswith(_OURS[0]) or file.endswith(_OURS[1])


def _pickled(error: BaseException) -> bytes | None:
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]  # the library ships no types

    library: Any = cloudpickle
    try:
        pickled: bytes = library.dumps(error)
    except Exception:  # noqa: BLE001  # an exception may hold anything, and pickling runs its code
        return None
    return pickled if len(pickled) <= MAX_PICKLED else None

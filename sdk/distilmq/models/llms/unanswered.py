"""Generations that a model did not give: why, in the provider's words, so that the row's error can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from distilmq.errors import RefusedError, RequestError
from distilmq.typing import Unanswered


def no_text(reason: object) -> Unanswered:
    """For an answer without text.

    Args:
        reason: for which the model stopped, as the provider calls it.
    """
    return {"refused": False, "why": f"its finish reason is '{reason}'", "answer": None}


def refused(why: str, answer: str | None = None) -> Unanswered:
    """For one of several answers that refuses.

    Args:
        why: in the provider's words.
        answer: what the model said, where it said something.
    """
    return {"refused": True, "why": why, "answer": answer}


def with_errors(output: Mapping[str, Any], who: str) -> dict[str, Any]:
    """An output whose errors are those that it has, and those that stand for what the model did not give.

    It is recorded with the reasons, which are JSON, and told with the errors.
    """
    told = dict(output)
    reasons: Sequence[Unanswered | None] = told.pop("unanswered", None) or ()
    if not any(reasons):
        return told
    known: Sequence[Exception | None] = told.get("errors") or [None] * len(reasons)
    told["errors"] = [
        error if error is not None else reason and _error(reason, who)
        for error, reason in zip(known, reasons, strict=True)
    ]
    return told


def _error(reason: Unanswered, who: str) -> RequestError:
    error = RefusedError if reason["refused"] else RequestError
    does = "refuses this content" if reason["refused"] else "gave no answer"
    return error(f"{who} {does}: {reason['why']}").with_answer(cast("object", reason["answer"]))

"""Files of batch jobs in OpenAI's form, which Mistral has as well: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from distilmq.errors import TransientError
from distilmq.models.batches.jobs import Line, number_in
from distilmq.models.requests.retries import error_for_status


def written(lines: Iterable[Line]) -> bytes:
    """The requests of a job."""
    return b"".join(
        json.dumps({"custom_id": line.custom_id, "method": "POST", "url": line.url, "body": line.body}).encode() + b"\n"
        for line in lines
    )


def read(job: str, data: bytes, who: str) -> Iterator[tuple[int, Mapping[str, Any] | Exception]]:
    """What came of the requests of a job: their numbers, each with its answer or with an error.

    Args:
        job: what we call it; lines of others are passed over.
        data: a file of answers, or of errors.
        who: names provider and model.
    """
    for text in data.splitlines():
        line = _line(text)
        number = number_in(job, str(line.get("custom_id")))
        if number is not None:
            yield number, _outcome(line, who)


def without_passing_faults(outcomes: Mapping[int, Any]) -> dict[int, Any]:
    """Of a job that was cancelled: requests that it had not come to are no failures."""
    return {number: outcome for number, outcome in outcomes.items() if not isinstance(outcome, TransientError)}


def _line(text: bytes) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}  # a line that was cut short: its request has no outcome, and is asked again
    return cast("dict[str, Any]", line) if isinstance(line, dict) else {}


def _outcome(line: dict[str, Any], who: str) -> Mapping[str, Any] | Exception:
    response = cast("dict[str, Any]", line.get("response") or {})
    body, status = response.get("body"), response.get("status_code")
    if isinstance(status, int) and status >= 400:
        return error_for_status(status, words(body), who=who)
    if isinstance(status, int) and isinstance(body, dict):
        return cast("dict[str, Any]", body)
    return TransientError(f"{who} did not answer in its batch job: {words(line.get('error'))}")


def words(error: Any) -> str:
    """What an error says, with its code."""
    told: Any = error
    while isinstance(told, dict) and isinstance(inner := cast("dict[str, Any]", told).get("error"), dict):
        told = cast("dict[str, Any]", inner)
    if not isinstance(told, dict):
        return str(told)[:500]
    details = cast("dict[str, Any]", told)
    code = details.get("code") or details.get("type")
    message = str(details.get("message") or details)[:500]
    return f"{message} ({code})" if code else message

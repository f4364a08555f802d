"""Headers about rate limits, whoever writes them, by the names and in the form that OpenAI has for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

_ANTHROPIC = "anthropic-ratelimit-requests-"


def as_openais(headers: Mapping[str, str], now: datetime) -> Mapping[str, str]:
    """Headers of an answer, with what Anthropic says about requests as OpenAI would say it.

    `anthropic-ratelimit-requests-limit`, `-remaining` and `-reset` (when the limit is whole again):
    https://docs.anthropic.com/en/api/rate-limits

    Args:
        headers: of an answer; their names are lower case.
        now: with its time zone.
    """
    limit, remaining = headers.get(f"{_ANTHROPIC}limit"), headers.get(f"{_ANTHROPIC}remaining")
    if limit is None and remaining is None:
        return headers
    reset = _seconds_until(headers.get(f"{_ANTHROPIC}reset"), now)
    told = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{name}-requests": value for name, value in told.items() if value is not None}


def without_limit_of_requests(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Headers of a provider whose limit of requests is not one of a minute.

    Groq's is that of a day: https://console.groq.com/docs/rate-limits

    Args:
        headers: of an answer; their names are lower case.
    """
    return {name: value for name, value in headers.items() if name.lower() != "x-ratelimit-limit-requests"}


def _seconds_until(time: str | None, now: datetime) -> str | None:
    """Seconds until a time (RFC 3339), as text; None for one that cannot be read."""
    try:
        until = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return str(max(0.0, (until - now).total_seconds())) if until.tzinfo is not None else None

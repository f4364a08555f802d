"""What providers say about limits in their headers, read as OpenAI would have said it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from distilmq.models.requests.rate_headers import as_openais

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)


def test_anthropics_limit_of_requests_is_told_in_openais_words() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-27T12:00:17Z",
        "anthropic-ratelimit-tokens-limit": "40000",
    }

    assert as_openais(headers, NOW) == {
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "17.0",
    }


def test_a_time_that_has_passed_is_now() -> None:
    headers = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-27T13:59:00+02:00",
    }

    assert as_openais(headers, NOW)["x-ratelimit-reset-requests"] == "0.0"


@pytest.mark.parametrize("time", ["soon", "", "17", "2026-11-27T12:00:17"])
def test_a_time_that_cannot_be_read_is_none(time: str) -> None:
    headers = {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": time}

    assert as_openais(headers, NOW) == {"x-ratelimit-remaining-requests": "0"}


def test_other_headers_stay_what_they_are() -> None:
    headers = {"x-ratelimit-limit-requests": "600", "content-type": "application/json"}

    assert as_openais(headers, NOW) == headers

"""Anthropic's message batches: the requests are sent with the job, the answers come as one stream.

A batch takes no name of ours. It is known by the names of its requests, which are shown once it is over; until then a
batch of the same size that began after ours was planned may be the one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from distilmq.errors import TransientError
from distilmq.models.batches.jobs import Found, Line, Look, Results, number_in
from distilmq.models.requests.retries import error_for_status, retry_after

_CLOCK_SLACK = 60.0
"""Seconds that the provider's clock may be behind ours."""
_MOST_LISTED = 100
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Of single requests, by the type of the error that an answer in a batch names instead."""


class AnthropicBatches:
    """See `BatchProvider`.

    Args:
        client: `anthropic.AsyncAnthropic`.
        who: names provider and model.
    """

    name = "Anthropic"
    most_requests = 100_000
    most_bytes = 250_000_000

    def __init__(self, client: Any, who: str) -> None:
        self._client = client
        self._batches = client.messages.batches
        self._who = who

    async def start(self, job: str, lines: Sequence[Line]) -> str:
        """Sends the requests."""
        requests = [{"custom_id": line.custom_id, "params": line.body} for line in lines]
        with self._errors():
            return (await self._batches.create(requests=requests)).id

    async def find(self, job: str, *, planned: float, size: int, known: Collection[str]) -> Found:
        """Looks through the list of batches, newest first, for one with our requests in it."""
        sure = True
        with self._errors():
            async for batch in self._batches.list(limit=_MOST_LISTED):
                if batch.created_at.timestamp() < planned - _CLOCK_SLACK:
                    break
                if batch.id in known or _size(batch) != size:
                    continue
                if batch.processing_status != "ended":
                    sure = False
                elif await self._is(batch.id, job):
                    return Found(batch.id)
        return Found(None, sure)

    async def look(self, id: str) -> Look:
        """How a batch stands; one that the provider knows no more is over."""
        with self._errors():
            batch = await self._retrieved(id)
        if batch is None:
            return Look(over=True)
        total = _size(batch)
        return Look(batch.processing_status == "ended", total - batch.request_counts.processing, total, batch)

    async def results(self, job: str, look: Look) -> Results:
        """The answers and errors of a batch that is over."""
        batch = look.raw
        if batch is None or not batch.results_url:
            return Results({})
        outcomes: dict[int, Any] = {}
        with self._errors():
            async for entry in await self._batches.results(batch.id):
                number = number_in(job, entry.custom_id)
                outcome = self._outcome(entry.result)
                if number is not None and outcome is not None:
                    outcomes[number] = outcome
        return Results(outcomes)

    async def cancel(self, id: str) -> None:
        """Has a batch end early."""
        with self._errors():
            await self._batches.cancel(id)

    async def tidy(self, look: Look) -> None:
        """There are no files."""

    async def _retrieved(self, id: str) -> Any:
        import anthropic

        try:
            return await self._batches.retrieve(id)
        except anthropic.NotFoundError:
            return None

    async def _is(self, id: str, job: str) -> bool:
        async for entry in await self._batches.results(id):
            return number_in(job, entry.custom_id) is not None
        return False

    def _outcome(self, result: Any) -> Any:
        """A message, an error, or None for a request that was not begun."""
        match result.type:
            case "succeeded":
                message = result.message
                if getattr(message, "content", None) is None:
                    return TransientError(f"{self._who} sent {str(message)[:500]}")
                return message
            case "errored":
                error = result.error.error
                return error_for_status(_STATUS.get(error.type, 500), f"{error.message} ({error.type})", who=self._who)
            case "expired":
                return TransientError(f"{self._who} did not answer: its batch job is expired")
            case _:
                return None

    @contextmanager
    def _errors(self) -> Generator[None]:
        import anthropic

        try:
            yield
        except anthropic.APIStatusError as error:
            wait = retry_after(error.response.headers)
            raise error_for_status(error.status_code, error.message, retry_after=wait, who=self._who) from error
        except anthropic.AnthropicError as error:  # no connection, no answer in time, or one that is none
            raise TransientError(f"{self._who}: {error.__cause__ or error}") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise TransientError(f"{self._who} sent no JSON: {error}") from error


def _size(batch: Any) -> int:
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired

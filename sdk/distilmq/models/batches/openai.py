"""OpenAI's batch API: a file of requests becomes a job, and a job gives a file of answers and one of errors."""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from distilmq.errors import InvalidRequestError, StepFatalError, TransientError
from distilmq.models.batches.jobs import Found, Line, Look, Results
from distilmq.models.batches.lines import read, without_passing_faults, written
from distilmq.models.requests.retries import error_for_status, retry_after

TAG = "distilmq_job"
"""The field of a job's metadata that holds what we call it."""
_OVER = ("completed", "failed", "expired", "cancelled")
_CLOCK_SLACK = 600.0
"""Seconds that the provider's clock may be behind ours."""
_NO_ROOM = "token_limit_exceeded"
_MOST_LISTED = 100


class OpenAIBatches:
    """See `BatchProvider`.

    Args:
        client: `openai.AsyncOpenAI`.
        who: names provider and model.
    """

    name = "OpenAI"
    most_requests = 50_000
    most_bytes = 190_000_000

    def __init__(self, client: Any, who: str) -> None:
        self._client = client
        self._who = who

    async def start(self, job: str, lines: Sequence[Line]) -> str:
        """Uploads the requests, and has the job begun."""
        with self._errors():
            file = await self._client.files.create(file=(f"{job}.jsonl", written(lines)), purpose="batch")
            batch = await self._client.batches.create(
                input_file_id=file.id, endpoint=lines[0].url, completion_window="24h", metadata={TAG: job}
            )
        return batch.id

    async def find(self, job: str, *, planned: float, size: int, known: Collection[str]) -> Found:
        """Looks through the list of jobs, newest first, for the one with our name in its metadata."""
        with self._errors():
            async for batch in self._client.batches.list(limit=_MOST_LISTED):
                metadata: dict[str, str] = batch.metadata or {}
                if metadata.get(TAG) == job:
                    return Found(batch.id)
                if batch.created_at < planned - _CLOCK_SLACK:
                    break
        return Found(None)

    async def look(self, id: str) -> Look:
        """How a job stands; one that the provider knows no more is over."""
        with self._errors():
            batch = await self._retrieved(id)
        if batch is None:
            return Look(over=True)
        counts = batch.request_counts
        done, total = (counts.completed + counts.failed, counts.total) if counts is not None else (0, 0)
        return Look(batch.status in _OVER, done, total, batch)

    async def results(self, job: str, look: Look) -> Results:
        """The answers and errors of a job that is over."""
        batch = look.raw
        if batch is None:
            return Results({})
        if batch.status == "failed":
            return self._failed(batch)
        outcomes: dict[int, Mapping[str, Any] | Exception] = {}
        for file in (batch.output_file_id, batch.error_file_id):
            if file:
                with self._errors():
                    content = await self._client.files.content(file)
                outcomes.update(read(job, content.content, self._who))
        if batch.status == "cancelled":
            return Results(without_passing_faults(outcomes))
        return Results(outcomes, TransientError(f"{self._who} did not answer: its batch job is {batch.status}"))

    async def cancel(self, id: str) -> None:
        """Has a job end early."""
        with self._errors():
            await self._client.batches.cancel(id)

    async def tidy(self, look: Look) -> None:
        """Deletes the files of requests, of answers and of errors."""
        batch = look.raw
        for file in () if batch is None else (batch.input_file_id, batch.output_file_id, batch.error_file_id):
            if file:
                with self._errors():
                    await self._deleted(file)

    async def _deleted(self, file: str) -> None:
        import openai

        with suppress(openai.NotFoundError):
            await self._client.files.delete(file)

    async def _retrieved(self, id: str) -> Any:
        import openai

        try:
            return await self._client.batches.retrieve(id)
        except openai.NotFoundError:
            return None

    def _failed(self, batch: Any) -> Results:
        """The provider did not take the file: for want of room, for some of its lines, or for another reason."""
        errors = list(batch.errors.data or ()) if batch.errors is not None else []
        if any(error.code == _NO_ROOM for error in errors):
            return Results({}, full=True)
        by_line: dict[int, InvalidRequestError] = {
            error.line - 1: InvalidRequestError(f"{self._who} refuses this request: {error.message} ({error.code})")
            for error in errors
            if error.line
        }
        if by_line:
            return Results(by_line)
        said = "; ".join(f"{error.message} ({error.code})" for error in errors) or "it gives no reason"
        return Results({}, StepFatalError(f"{self._who} refuses the batch job: {said}"))

    @contextmanager
    def _errors(self) -> Generator[None]:
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            wait = retry_after(error.response.headers)
            raise error_for_status(error.status_code, error.message, retry_after=wait, who=self._who) from error
        except openai.APIError as error:  # no connection, no answer in time, or one that is none
            raise TransientError(f"{self._who}: {error.__cause__ or error}") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise TransientError(f"{self._who} sent no JSON: {error}") from error

"""Mistral's batch API: a file of requests becomes a job, and a job gives a file of answers and one of errors."""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from distilmq.errors import StepFatalError, TransientError
from distilmq.models.batches.jobs import Found, Line, Look, Results
from distilmq.models.batches.lines import read, without_passing_faults, written
from distilmq.models.requests.retries import error_for_status, retry_after

TAG = "distilmq_job"
"""The field of a job's metadata that holds what we call it."""
_RUNNING = ("QUEUED", "RUNNING", "CANCELLATION_REQUESTED")
_CLOCK_SLACK = 600.0
"""Seconds that the provider's clock may be behind ours."""
_MOST_LISTED = 100


class MistralBatches:
    """See `BatchProvider`.

    Args:
        client: `mistralai.client.Mistral`.
        model: the model's name.
        who: names provider and model.
    """

    name = "Mistral"
    most_requests = 1_000_000
    most_bytes = 500_000_000

    def __init__(self, client: Any, model: str, who: str) -> None:
        self._client = client
        self._jobs = client.batch.jobs
        self._model = model
        self._who = who

    async def start(self, job: str, lines: Sequence[Line]) -> str:
        """Uploads the requests, and has the job begun."""
        upload = {"file_name": f"{job}.jsonl", "content": written(lines)}
        with self._errors():
            file = await self._client.files.upload_async(file=upload, purpose="batch")
            begun = await self._jobs.create_async(
                input_files=[file.id], endpoint=lines[0].url, model=self._model, metadata={TAG: job}, timeout_hours=24
            )
        return begun.id

    async def find(self, job: str, *, planned: float, size: int, known: Collection[str]) -> Found:
        """Looks through the list of jobs for the one with our name in its metadata."""
        since = datetime.fromtimestamp(planned - _CLOCK_SLACK, UTC)
        page = 0
        while True:
            with self._errors():
                listed = await self._jobs.list_async(page=page, page_size=_MOST_LISTED, created_after=since)
            found: list[Any] = listed.data or []
            for each in found:
                metadata: dict[str, Any] = each.metadata or {}
                if metadata.get(TAG) == job:
                    return Found(each.id)
            page += 1
            if len(found) < _MOST_LISTED:
                return Found(None)

    async def look(self, id: str) -> Look:
        """How a job stands; one that the provider knows no more is over."""
        job = await self._retrieved(id)
        if job is None:
            return Look(over=True)
        return Look(job.status not in _RUNNING, job.completed_requests, job.total_requests, job)

    async def results(self, job: str, look: Look) -> Results:
        """The answers and errors of a job that is over."""
        raw = look.raw
        if raw is None:
            return Results({})
        outcomes: dict[int, Any] = {}
        for file in (raw.output_file, raw.error_file):
            if file:
                for number, outcome in read(job, await self._content(file), self._who):
                    outcomes[number] = outcome if isinstance(outcome, Exception) else self._answer(outcome)
        if raw.status == "CANCELLED":
            return Results(without_passing_faults(outcomes))
        if raw.status == "FAILED" and not outcomes:
            said = "; ".join(error.message for error in raw.errors or ()) or "it gives no reason"
            return Results({}, StepFatalError(f"{self._who} refuses the batch job: {said}"))
        return Results(outcomes, TransientError(f"{self._who} did not answer: its batch job is {raw.status}"))

    async def cancel(self, id: str) -> None:
        """Has a job end early."""
        with self._errors():
            await self._jobs.cancel_async(job_id=id)

    async def tidy(self, look: Look) -> None:
        """Deletes the files of requests, of answers and of errors."""
        job = look.raw
        for file in () if job is None else (*(job.input_files or ()), job.output_file, job.error_file):
            if file:
                with self._errors():
                    await self._deleted(file)

    async def _deleted(self, file: str) -> None:
        from mistralai.client.errors import MistralError

        try:
            await self._client.files.delete_async(file_id=file)
        except MistralError as error:
            if error.status_code != 404:
                raise

    async def _retrieved(self, id: str) -> Any:
        from mistralai.client.errors import MistralError

        with self._errors():
            try:
                return await self._jobs.get_async(job_id=id)
            except MistralError as error:
                if error.status_code != 404:
                    raise
                return None

    async def _content(self, file: str) -> bytes:
        with self._errors():
            response = await self._client.files.download_async(file_id=file)
            return await response.aread()

    def _answer(self, body: Mapping[str, Any]) -> Any:
        from mistralai.client.models import ChatCompletionResponse

        try:
            return ChatCompletionResponse.model_validate(body)
        except ValidationError as error:
            return TransientError(f"{self._who} sent no answer: {error}")

    @contextmanager
    def _errors(self) -> Generator[None]:
        import httpx2
        from mistralai.client.errors import MistralError, NoResponseError

        try:
            yield
        except MistralError as error:
            if error.status_code < 400:  # a proxy's page, or JSON that is no answer
                raise TransientError(f"{self._who} sent {error.body[:500]}") from error
            wait, said = retry_after(error.headers), error.body or error.message
            raise error_for_status(error.status_code, said, retry_after=wait, who=self._who) from error
        except (NoResponseError, httpx2.TransportError) as error:
            raise TransientError(f"{self._who}: {type(error).__name__}: {error}") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise TransientError(f"{self._who} sent no JSON: {error}") from error

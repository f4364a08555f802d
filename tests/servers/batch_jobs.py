"""Batch jobs of OpenAI, Anthropic and Mistral, beside the server's other addresses; a job does what a test says.

server.jobs.hold()                      # jobs go on running
server.jobs.stall("created")            # the answer to the next request that begins one never comes
server.jobs.end(job, "expired", after=3)
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from tests.servers.dialects import ANTHROPIC, MISTRAL, OPENAI, Dialect

if TYPE_CHECKING:
    from tests.servers.providers import ProviderServer

Point = Literal["creating", "created", "looked", "results"]
"""Before a job is begun; after that, before it is said; when it is looked at; when its results are asked for."""
End = Literal["done", "expired", "cancelled", "failed"]
DIALECT_OF: dict[str, Dialect] = {"openai": OPENAI, "anthropic": ANTHROPIC, "mistral": MISTRAL}


@dataclass(eq=False)
class Job:
    """A job that was begun."""

    id: str
    provider: str
    lines: list[tuple[str, dict[str, Any]]]
    """Each request's name and body."""
    metadata: dict[str, str]
    model: str | None
    created: float = field(default_factory=time.time)
    state: Literal["running"] | End = "running"
    outcomes: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    """What became of requests: status and body."""
    reason: str = ""
    code: str = ""
    input: str = ""
    """The file with its requests."""
    results: tuple[str | None, str | None] | None = None
    """Files with its answers and errors, once somebody has seen that it is over."""

    @property
    def over(self) -> bool:
        return self.state != "running"

    @property
    def failed(self) -> int:
        return sum(status >= 400 for status, _ in self.outcomes.values())


class BatchJobs:
    """The jobs of all providers."""

    def __init__(self, server: ProviderServer) -> None:
        self._server = server
        self._files: dict[str, bytes] = {}
        self._names = count()
        self._stall: Point | None = None
        self._free = threading.Event()
        self._free.set()
        self._next_end: list[tuple[End, int, str, str]] = []
        self.begun: list[Job] = []
        """In the order in which they came."""
        self.stalled = threading.Event()
        """A request stands at the point that was named."""
        self.held = False
        self.refused = ""
        """Jobs that hold a request with this text are refused."""
        self.breaks = 0
        """So many of the next jobs are begun, and then the server breaks before it can say so."""

    # ------------------------------------------------------------ what tests say

    def hold(self) -> None:
        """From here on jobs run on and on."""
        self.held = True

    def release(self) -> None:
        """All jobs that run come to their end."""
        self.held = False

    def stall(self, point: Point) -> None:
        """The next request at a point gets no answer until `go_on`."""
        self.stalled.clear()
        self._free.clear()
        self._stall = point

    def go_on(self) -> None:
        """Requests that stand still get their answers."""
        self._stall = None
        self._free.set()

    def next_ends(self, end: End, *, after: int = 0, code: str = "", reason: str = "") -> None:
        """The next job that is begun ends in a way, when so many of its requests are done."""
        self._next_end.append((end, after, code, reason))

    def end(self, job: Job, end: End, *, after: int | None = None) -> None:
        """A job comes to an end when so many of its requests are done, or all of them."""
        self.do_some(job, after)
        job.state = end

    def do_some(self, job: Job, count: int | None) -> None:
        """The first few requests of a job are done, or all of them."""
        for name, body in job.lines[:count]:
            if name not in job.outcomes:
                job.outcomes[name] = self._server.compute(job.provider, DIALECT_OF[job.provider], body)

    def advance(self, job: Job) -> None:
        """A job that is not held comes to its end."""
        if not job.over and not self.held:
            self.end(job, "done")

    def file(self, data: bytes) -> str:
        """Keeps a file; its name."""
        name = f"file-{next(self._names)}"
        self._files[name] = data
        return name

    @property
    def files(self) -> list[str]:
        """What lies there."""
        return list(self._files)

    # ------------------------------------------------------------ what all providers share

    async def _reached(self, point: Point) -> None:
        if self._stall == point:
            self.stalled.set()
            while not self._free.is_set():
                await asyncio.sleep(0.01)

    async def _begin(
        self,
        request: web.Request,
        provider: str,
        lines: list[tuple[str, dict[str, Any]]],
        metadata: dict[str, str],
        model: str | None = None,
        *,
        file: str = "",
    ) -> Job:
        await self._reached("creating")
        if request.transport is None:
            raise web.HTTPBadRequest(text="who asked has gone, and what it asked was lost on the way")
        if self.refused and any(self.refused in json.dumps(body) for _, body in lines):
            raise web.HTTPBadRequest(text=json.dumps({"error": {"message": "a request is none", "type": "invalid"}}))
        job = Job(f"{provider}-job-{len(self.begun)}", provider, lines, metadata, model, input=file)
        self.begun.append(job)
        if self._next_end:
            end, after, job.code, job.reason = self._next_end.pop(0)
            self.end(job, end, after=after)
        await self._reached("created")
        if self.breaks:
            self.breaks -= 1
            raise web.HTTPBadGateway(text="<html>502</html>")
        return job

    async def _looked_at(self, request: web.Request) -> Job:
        await self._reached("looked")
        job = self._named(request)
        self.advance(job)
        return job

    def _named(self, request: web.Request) -> Job:
        found = [job for job in self.begun if job.id == request.match_info["job"]]
        if not found:
            raise web.HTTPNotFound(text=json.dumps({"error": {"message": "no such job", "type": "not_found_error"}}))
        return found[0]

    async def _cancelled(self, request: web.Request) -> Job:
        job = self._named(request)
        if not job.over:
            self.end(job, "cancelled", after=0)
        return job

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        upload: Any = form["file"]
        name = self.file(upload.file.read())
        more = {"bytes": 1, "created_at": int(time.time()), "filename": upload.filename, "purpose": "batch"}
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "status": "processed",
                "sample_type": "batch_request",
                "source": "upload",
                **more,
            }
        )

    async def _content(self, request: web.Request) -> web.Response:
        await self._reached("results")
        data = self._files[request.match_info["file"]]
        return web.Response(body=data, content_type="application/octet-stream")

    async def _deleted(self, request: web.Request) -> web.Response:
        name = request.match_info["file"]
        if self._files.pop(name, None) is None:
            raise web.HTTPNotFound(text=json.dumps({"error": {"message": "no such file", "type": "not_found_error"}}))
        return web.json_response({"id": name, "object": "file", "deleted": True})

    def _lines_of(self, file: str) -> list[tuple[str, dict[str, Any]]]:
        lines = [json.loads(line) for line in self._files[file].splitlines()]
        return [(line["custom_id"], line["body"]) for line in lines]

    def _result_files(self, job: Job) -> tuple[str | None, str | None]:
        """A file with the answers and one with the errors, in OpenAI's form."""
        if job.results is None:
            job.results = self._written(job)
        return job.results

    def _written(self, job: Job) -> tuple[str | None, str | None]:
        files: list[str | None] = []
        for wanted in (False, True):
            lines = [
                {"custom_id": name, "response": {"status_code": status, "body": body}, "error": None}
                for name, (status, body) in job.outcomes.items()
                if (status >= 400) is wanted
            ]
            if wanted and job.state in ("expired", "cancelled"):
                code = f"batch_{job.state}"
                lines += [
                    {"custom_id": name, "response": None, "error": {"code": code, "message": "not begun"}}
                    for name, _ in job.lines
                    if name not in job.outcomes
                ]
            files.append(self.file("\n".join(map(json.dumps, lines)).encode()) if lines else None)
        return files[0], files[1]

    def routes(self, app: web.Application) -> None:
        """Adds the providers' addresses."""
        add = app.router.add_route
        for base in ("/openai/v1", "/mistral/v1"):
            add("POST", f"{base}/files", self._upload)
            add("GET", f"{base}/files/{{file}}/content", self._content)
            add("DELETE", f"{base}/files/{{file}}", self._deleted)
        for base, provider in (
            ("/openai/v1/batches", _OpenAI(self)),
            ("/anthropic/v1/messages/batches", _Anthropic(self)),
            ("/mistral/v1/batch/jobs", _Mistral(self)),
        ):
            add("POST", base, provider.create)
            add("GET", base, provider.list)
            add("GET", f"{base}/{{job}}", provider.look)
            add("POST", f"{base}/{{job}}/cancel", provider.cancel)
        add("GET", "/anthropic/v1/messages/batches/{job}/results", _Anthropic(self).results)


class _Provider:
    """One provider's way to speak of jobs."""

    name: str

    def __init__(self, jobs: BatchJobs) -> None:
        self.jobs = jobs

    def shown(self, job: Job) -> dict[str, Any]:
        raise NotImplementedError

    async def look(self, request: web.Request) -> web.Response:
        return web.json_response(self.shown(await self.jobs._looked_at(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        return web.json_response(self.shown(await self.jobs._cancelled(request)))

    def mine(self) -> list[Job]:
        """Newest first."""
        found = [job for job in reversed(self.jobs.begun) if job.provider == self.name]
        for job in found:
            self.jobs.advance(job)
        return found


class _OpenAI(_Provider):
    name = "openai"

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        file = asked["input_file_id"]
        job = await self.jobs._begin(request, self.name, self.jobs._lines_of(file), asked["metadata"], file=file)
        return web.json_response(self.shown(job))

    async def list(self, request: web.Request) -> web.Response:
        found = self.mine()
        if "after" in request.query:
            ids = [job.id for job in found]
            found = found[ids.index(request.query["after"]) + 1 :]
        most = int(request.query.get("limit", 20))
        data = [self.shown(job) for job in found[:most]]
        return web.json_response({"object": "list", "data": data, "has_more": len(found) > most})

    def shown(self, job: Job) -> dict[str, Any]:
        state = {"running": "in_progress", "done": "completed"}.get(job.state, job.state)
        output, errors = self.jobs._result_files(job) if job.over else (None, None)
        counts = {"total": len(job.lines), "completed": len(job.outcomes) - job.failed, "failed": job.failed}
        shown: dict[str, Any] = {
            "id": job.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": job.input,
            "completion_window": "24h",
            "status": state,
            "created_at": int(job.created),
            "metadata": job.metadata,
            "request_counts": counts,
            "output_file_id": output,
            "error_file_id": errors,
        }
        if job.state == "failed":
            shown["errors"] = {"object": "list", "data": [{"code": job.code, "message": job.reason}]}
        return shown


class _Anthropic(_Provider):
    name = "anthropic"

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        lines = [(line["custom_id"], line["params"]) for line in asked["requests"]]
        return web.json_response(self.shown(await self.jobs._begin(request, self.name, lines, {})))

    async def list(self, request: web.Request) -> web.Response:
        found = self.mine()
        if "after_id" in request.query:
            ids = [job.id for job in found]
            found = found[ids.index(request.query["after_id"]) + 1 :]
        most = int(request.query.get("limit", 20))
        data = [self.shown(job) for job in found[:most]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return web.json_response({"data": data, "has_more": len(found) > most, **ends})

    async def results(self, request: web.Request) -> web.Response:
        await self.jobs._reached("results")
        job = self.jobs._named(request)
        lines: list[dict[str, Any]] = []
        for name, _ in job.lines:
            if name not in job.outcomes:
                lines.append(
                    {"custom_id": name, "result": {"type": "expired" if job.state == "expired" else "canceled"}}
                )
                continue
            status, body = job.outcomes[name]
            result = {"type": "succeeded", "message": body} if status < 400 else {"type": "errored", "error": body}
            lines.append({"custom_id": name, "result": result})
        return web.Response(body="\n".join(map(json.dumps, lines)).encode(), content_type="application/binary")

    def shown(self, job: Job) -> dict[str, Any]:
        left = len(job.lines) - len(job.outcomes)
        address = f"{self.jobs._server.url}/anthropic/v1/messages/batches/{job.id}/results"
        return {
            "id": job.id,
            "type": "message_batch",
            "processing_status": "ended" if job.over else "in_progress",
            "request_counts": {
                "processing": 0 if job.over else left,
                "succeeded": len(job.outcomes) - job.failed,
                "errored": job.failed,
                "canceled": left if job.state == "cancelled" else 0,
                "expired": left if job.state == "expired" else 0,
            },
            "created_at": datetime.fromtimestamp(job.created, UTC).isoformat(),
            "expires_at": datetime.fromtimestamp(job.created + 86400, UTC).isoformat(),
            "ended_at": None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": address if job.over else None,
        }


class _Mistral(_Provider):
    name = "mistral"

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        [file] = asked["input_files"]
        lines = self.jobs._lines_of(file)
        lines = [(name, {"model": asked["model"], **body}) for name, body in lines]
        job = await self.jobs._begin(request, self.name, lines, asked["metadata"], asked["model"], file=file)
        return web.json_response(self.shown(job))

    async def list(self, request: web.Request) -> web.Response:
        page, size = int(request.query.get("page", 0)), int(request.query.get("page_size", 100))
        found = self.mine()
        data = [self.shown(job) for job in found[page * size : (page + 1) * size]]
        return web.json_response({"object": "list", "data": data, "total": len(found)})

    def shown(self, job: Job) -> dict[str, Any]:
        states = {
            "running": "RUNNING",
            "done": "SUCCESS",
            "expired": "TIMEOUT_EXCEEDED",
            "cancelled": "CANCELLED",
            "failed": "FAILED",
        }
        output, errors = self.jobs._result_files(job) if job.over else (None, None)
        return {
            "id": job.id,
            "object": "batch",
            "input_files": [job.input],
            "metadata": job.metadata,
            "endpoint": "/v1/chat/completions",
            "model": job.model,
            "output_file": output,
            "error_file": errors,
            "errors": [{"message": job.reason, "count": 1}] if job.reason else [],
            "status": states[job.state],
            "created_at": int(job.created),
            "total_requests": len(job.lines),
            "completed_requests": len(job.outcomes),
            "succeeded_requests": len(job.outcomes) - job.failed,
            "failed_requests": job.failed,
        }

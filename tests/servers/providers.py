"""One local HTTP server that speaks the APIs of all providers, keeps a log, and fails on demand.

    with ProviderServer() as server:
        server.says = lambda prompt: prompt.upper()
        server.fail("bad row", status=400)
        env = server.env(tmp_path)      # what the SDKs read: addresses, keys, Google's credentials

Prompts are told apart by the text of their last message. How a provider writes questions and answers is in `dialects`.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from tests.servers.batch_jobs import BatchJobs
from tests.servers.dialects import DIALECTS, Dialect, Question
from tests.servers.hub_api import TOKEN

KEY = TOKEN
"""Of the Hub as well: both are Hugging Face's."""

Damage = Literal["silence", "hang up", "cut short", "malformed", "page", "no choice"]
"""What may become of an answer: none, a closed connection, half of it, broken JSON, a proxy's page, or an empty one."""


@dataclass(slots=True, eq=False)
class Asked:
    """A request that came."""

    provider: str
    model: str
    prompt: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float
    """When it came."""
    answered_at: float | None = None
    """When its answer left; None for one that got none."""


@dataclass(slots=True)
class Fault:
    """What requests with a text get instead of an answer."""

    text: str
    status: int
    message: str
    code: str | None
    retry_after: float | None
    times: int | None
    damage: Damage | None = None
    model: str | None = None


@dataclass
class ProviderServer:
    """Runs while its `with` lasts; every address below `url` is a provider's."""

    says: Callable[[str], str | None] = lambda prompt: f"You said: {prompt}"
    """The answer to a prompt; None is a refusal."""
    asked: list[Asked] = field(default_factory=list)
    """Every request to a model, in the order in which they came."""
    answered: list[Asked] = field(default_factory=list)
    """Those of them whose answer left, as the provider bills them."""
    latency: float = 0.0
    """Seconds that an answer takes."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Sent with every answer."""
    slow: tuple[str, float] = ("", 0.0)
    """A pattern, and how many seconds more the answers to prompts take that match it."""
    tells_tokens: Literal["all", "nothing", "no number"] = "all"
    """Whether answers say how many tokens they took; `no number`: they have the place for it, and nothing there."""
    slots: int | None = None
    """How many requests are worked on at the same time; the others wait in the server's queue."""
    metrics: bool = False
    """Whether it says how long its queue is, as vLLM does."""
    places: int | None = None
    """How many requests may be answered at the same time; the others are refused with 429."""
    refused: int = 0
    """How many were."""
    most_at_once: int = 0
    """How many requests were being answered at the same time, at most."""
    clock: Callable[[], float] = time.monotonic
    """By which it says when requests came and answers left."""

    def __enter__(self) -> ProviderServer:
        self._faults: list[Fault] = []
        self.jobs = BatchJobs(self)
        self._open = threading.Event()
        self._open.set()
        self._now = 0
        self._running = 0
        self._free, self._held = 0, ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider-server")
        self._thread.start()
        self._runner, self.url = self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ------------------------------------------------------------ how it behaves

    def fail(
        self,
        text: str,
        *,
        status: int = 500,
        message: str = "the server was told to fail",
        code: str | None = None,
        retry_after: float | None = None,
        times: int | None = None,
        hang_up: bool = False,
        model: str | None = None,
    ) -> None:
        """Lets requests whose prompt holds a text (to one model, or to all) fail: the next `times`, or all of them."""
        damage: Damage | None = "hang up" if hang_up else None
        self._faults.append(Fault(text, status, message, code, retry_after, times, damage, model))

    def damage(self, text: str, damage: Damage, *, times: int | None = None) -> None:
        """Damages the answers to requests whose prompt holds a text: the next `times`, or all of them."""
        self._faults.append(Fault(text, 200, "", None, None, times, damage))

    def recover(self) -> None:
        """Lets no request fail any more."""
        self._faults.clear()

    def hold(self, *, after: int = 0, only: str = "") -> None:
        """Keeps answers back until `release`, but for the next few; only those to prompts that hold a text."""
        self._free, self._held = after, only
        self._open.clear()

    def release(self) -> None:
        """Gives the answers that were kept back."""
        self._open.set()

    def compute(self, provider: str, dialect: Dialect, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answers a request of a batch job: status and body."""
        question = dialect.question(body, {})
        asked = Asked(provider, question.model, question.prompt, question.body, {}, self.clock())
        self.asked.append(asked)
        if (fault := self._fault(question)) is not None:
            return fault.status, dialect.error(fault.status, fault.message, fault.code)
        self.answered.append(asked)
        return 200, dialect.answer(question, [self.says(question.prompt) for _ in range(question.answers)])

    # ------------------------------------------------------------ what came

    @property
    def prompts(self) -> list[str]:
        """The texts of all requests."""
        return [asked.prompt for asked in self.asked]

    @property
    def times(self) -> list[float]:
        """When each request came, in seconds."""
        return [asked.at for asked in self.asked]

    def of(self, provider: str) -> list[Asked]:
        """The requests to one provider."""
        return [asked for asked in self.asked if asked.provider == provider]

    @property
    def waiting(self) -> int:
        """How many requests wait for their answer; those whose client has gone do not."""
        return self._now

    # ------------------------------------------------------------ where it is

    def env(self, folder: Path) -> dict[str, str]:
        """Environment variables that point the SDKs at this server; the folder gets Google's key file."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/openai/v1",
            "OPENAI_API_KEY": KEY,
            "AZURE_OPENAI_ENDPOINT": f"{self.url}/azure",
            "AZURE_OPENAI_API_KEY": KEY,
            "OPENAI_API_VERSION": "2024-10-21",
            "ANYSCALE_BASE_URL": f"{self.url}/anyscale/v1",
            "ANYSCALE_API_KEY": KEY,
            "TOGETHER_BASE_URL": f"{self.url}/together/v1",
            "TOGETHER_API_KEY": KEY,
            "GROQ_BASE_URL": f"{self.url}/groq",
            "GROQ_API_KEY": KEY,
            "OLLAMA_HOST": f"{self.url}/ollama",
            "ANTHROPIC_BASE_URL": f"{self.url}/anthropic",
            "ANTHROPIC_API_KEY": KEY,
            "COHERE_BASE_URL": f"{self.url}/cohere",
            "COHERE_API_KEY": KEY,
            "HF_TOKEN": KEY,
            "TGI_URL": f"{self.url}/huggingface",
            "MISTRAL_BASE_URL": f"{self.url}/mistral",
            "MISTRAL_API_KEY": KEY,
            "GOOGLE_VERTEX_BASE_URL": f"{self.url}/vertex",
            "GOOGLE_APPLICATION_CREDENTIALS": str(google_key_file(folder, f"{self.url}/token")),
        }

    # ------------------------------------------------------------ inside

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> tuple[web.AppRunner, str]:
        app = web.Application(client_max_size=2**30)
        for dialect in DIALECTS:
            for path in dialect.paths:
                app.router.add_post(path, partial(self._asked, dialect))
        self.jobs.routes(app)
        app.router.add_get("/{provider}/v1/models", self._models)
        app.router.add_get("/{provider}/metrics", self._metrics)
        app.router.add_get("/endpoints/endpoint/{owner}/{name}", self._endpoint)
        app.router.add_post("/endpoints/endpoint/{owner}/{name}/resume", self._endpoint)
        app.router.add_get("/huggingface/health", self._healthy)
        app.router.add_post("/token", self._token)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return runner, f"http://{host}:{port}"

    async def _asked(self, dialect: Dialect, request: web.Request) -> web.StreamResponse:
        question = dialect.question(await request.json(), request.match_info)
        provider = request.match_info.get("provider", dialect.name)
        fault = await self._received(provider, question, dialect, request)
        if isinstance(fault, web.StreamResponse):
            return fault
        answer = dialect.answer(question, [self.says(question.prompt) for _ in range(question.answers)])
        return await self._sent(answer, fault, dialect, request)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        model = {"id": "served-model", "object": "model", "created": 1, "owned_by": request.match_info["provider"]}
        return web.json_response({"object": "list", "data": [model]})

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if not self.metrics:
            return web.Response(status=404)
        lines = ["# HELP vllm:num_requests_running Requests in model execution batches."]
        for name, value in (("running", self._running), ("waiting", self._now - self._running)):
            lines.append(f'vllm:num_requests_{name}{{engine="0",model_name="m"}} {float(value)}')
        return web.Response(text="\n".join([*lines, ""]))

    async def _worked_on(self, question: Question, request: web.Request) -> None:
        """Waits in the queue, and then for as long as an answer takes."""
        while self.slots is not None and self._running >= self.slots:
            await asyncio.sleep(0.005)
        self._running += 1
        pattern, more = self.slow
        try:
            await asyncio.sleep(self.latency + (more if re.search(pattern, question.prompt) else 0.0))
            held = self._held in question.prompt
            while held and not self._open.is_set() and self._free <= 0 and request.transport is not None:
                await asyncio.sleep(0.005)
            self._free -= 1
        finally:
            self._running -= 1

    async def _endpoint(self, request: web.Request) -> web.StreamResponse:
        """A dedicated endpoint at Hugging Face, which runs once it was woken."""
        name = request.match_info["name"]
        if name != "mine":
            return web.json_response({"error": f"no endpoint {name}"}, status=404)
        woken = request.method == "POST"
        at = "2026-01-01T00:00:00.000Z"
        status = {"state": "running" if woken else "paused", "createdAt": at, "updatedAt": at}
        if woken:
            status["url"] = f"{self.url}/huggingface"
        model = {"repository": "org/model", "framework": "pytorch", "revision": "main", "task": "text-generation"}
        return web.json_response(
            {"name": name, "type": "protected", "healthRoute": "/health", "model": model, "status": status}
        )

    async def _healthy(self, request: web.Request) -> web.StreamResponse:
        return web.Response()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response({"access_token": KEY, "expires_in": 3600, "token_type": "Bearer"})

    async def _received(
        self, provider: str, question: Question, dialect: Dialect, request: web.Request
    ) -> web.StreamResponse | Damage | None:
        """Logs a request; the failure that it shall get, what damages its answer, or None when all is well."""
        asked = Asked(provider, question.model, question.prompt, question.body, dict(request.headers), self.clock())
        self.asked.append(asked)
        if self.places is not None and self._now >= self.places:
            self.refused += 1
            return _error(dialect, 429, "Too many requests at once", "rate_limit_exceeded", None)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self._worked_on(question, request)
        finally:
            self._now -= 1
        if not dialect.allows(request.headers, KEY):
            return _error(dialect, 401, "Incorrect API key provided", "invalid_api_key", None)
        fault = self._fault(question)
        if fault is not None and fault.damage is not None:
            return fault.damage
        if fault is not None:
            return _error(dialect, fault.status, fault.message, fault.code, fault.retry_after)
        if request.transport is not None:  # the client is still there
            asked.answered_at = self.clock()
            self.answered.append(asked)
        return None

    def _fault(self, question: Question) -> Fault | None:
        """What a request shall get instead of an answer."""
        for fault in self._faults:
            if fault.text in question.prompt and fault.times != 0 and fault.model in (None, question.model):
                fault.times = fault.times - 1 if fault.times is not None else None
                return fault
        return None

    async def _sent(
        self, answer: dict[str, Any], damage: Damage | None, dialect: Dialect, request: web.Request
    ) -> web.StreamResponse:
        if self.tells_tokens != "all":
            answer = _without_tokens(answer, bare=self.tells_tokens == "no number")
        text = json.dumps(answer)
        match damage:
            case None:
                return web.json_response(answer, headers=self.headers)
            case "no choice":
                return web.json_response(dialect.without_choice(answer))
            case "malformed":
                return web.Response(text=text[: len(text) // 2], content_type="application/json")
            case "page":
                return web.Response(text="<html>The site is under maintenance</html>", content_type="text/html")
            case "silence":
                await asyncio.sleep(60)
            case "hang up":
                pass
            case "cut short":
                response = web.StreamResponse(headers={"Content-Length": str(len(text))})
                response.content_type = "application/json"
                await response.prepare(request)
                await response.write(text[: len(text) // 2].encode())
        if request.transport is not None:
            request.transport.close()
        return web.Response()


def _without_tokens(answer: dict[str, Any], *, bare: bool) -> dict[str, Any]:
    """An answer, in any provider's form, that does not say what it took."""
    kept = {name: value for name, value in answer.items() if name not in _TOKENS}
    return {**kept, **({name: {} for name in ("usage", "usageMetadata") if name in answer} if bare else {})}


_TOKENS = ("usage", "usageMetadata", "prompt_eval_count", "eval_count")


def google_key_file(folder: Path, token_url: str) -> Path:
    """A service account's key file, whose tokens come from the local server."""
    account = {
        "type": "service_account",
        "project_id": "project-of-the-tests",
        "private_key_id": "1",
        "private_key": _private_key(),
        "client_email": "tests@project-of-the-tests.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_url,
    }
    path = folder / "google-key.json"
    path.write_text(json.dumps(account))
    return path


@cache
def _private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _error(dialect: Dialect, status: int, message: str, code: str | None, retry_after: float | None) -> web.Response:
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    return web.json_response(dialect.error(status, message, code), status=status, headers=headers)

"""One local HTTP server that speaks the chat APIs of OpenAI, Mistral and Vertex AI, keeps a log, and fails on demand.

    with ProviderServer() as server:
        server.says = lambda prompt: prompt.upper()
        server.fail("bad row", status=400)
        env = server.env(tmp_path)      # what the SDKs read: addresses, keys, Google's credentials

Prompts are told apart by the text of their last message.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

KEY = "a-key-of-the-tests"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    provider: str
    model: str
    prompt: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)
    """When it came."""


@dataclass(slots=True)
class Fault:
    """What requests with a text get instead of an answer."""

    text: str
    status: int
    message: str
    code: str | None
    retry_after: float | None
    times: int | None
    hang_up: bool = False


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
    most_at_once: int = 0
    """How many requests were being answered at the same time, at most."""

    def __enter__(self) -> ProviderServer:
        self._faults: list[Fault] = []
        self._open = threading.Event()
        self._open.set()
        self._now = 0
        self._free = 0
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
    ) -> None:
        """Lets requests whose prompt holds a text fail: the next `times`, or all of them."""
        self._faults.append(Fault(text, status, message, code, retry_after, times, hang_up))

    def hold(self, *, after: int = 0) -> None:
        """Keeps answers back until `release`, but for the next few."""
        self._free = after
        self._open.clear()

    def release(self) -> None:
        """Gives the answers that were kept back."""
        self._open.set()

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
            "MISTRAL_BASE_URL": f"{self.url}/mistral",
            "MISTRAL_API_KEY": KEY,
            "GOOGLE_VERTEX_BASE_URL": f"{self.url}/vertex",
            "GOOGLE_APPLICATION_CREDENTIALS": str(google_key_file(folder, f"{self.url}/token")),
        }

    # ------------------------------------------------------------ inside

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_post("/openai/v1/chat/completions", self._openai)
        app.router.add_post("/openai/v1/completions", self._openai_text)
        app.router.add_post("/mistral/v1/chat/completions", self._mistral)
        app.router.add_post("/vertex/{version}/projects/{project}/locations/{place}/{rest:.*}", self._vertex)
        app.router.add_post("/token", self._token)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return runner, f"http://{host}:{port}"

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = _text(body["messages"][-1]["content"])
        if (failed := await self._received("openai", body["model"], prompt, body, request)) is not None:
            return failed
        choices = [{"index": i, **_message(self.says(prompt))} for i in range(body.get("n") or 1)]
        if body.get("logprobs"):
            for choice in choices:
                choice["logprobs"] = {"content": [{"token": "You", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
        return web.json_response(_completion(body["model"], "chat.completion", choices, prompt))

    async def _openai_text(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = body["prompt"]
        if (failed := await self._received("openai", body["model"], prompt, body, request)) is not None:
            return failed
        choice = {"index": 0, "text": self.says(prompt), "finish_reason": "stop", "logprobs": None}
        return web.json_response(_completion(body["model"], "text_completion", [choice], prompt))

    async def _mistral(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = _text(body["messages"][-1]["content"])
        if (failed := await self._received("mistral", body["model"], prompt, body, request)) is not None:
            return failed
        choices = [{"index": 0, **_message(self.says(prompt))}]
        return web.json_response(_completion(body["model"], "chat.completion", choices, prompt))

    async def _vertex(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = request.match_info["rest"].rpartition("/")[2].removesuffix(":generateContent")
        prompt = "".join(part.get("text", "") for part in body["contents"][-1]["parts"])
        if (failed := await self._received("vertex", model, prompt, body, request)) is not None:
            return failed
        text = self.says(prompt)
        candidate: dict[str, Any] = {"finishReason": "STOP" if text is not None else "SAFETY"}
        if text is not None:
            candidate["content"] = {"role": "model", "parts": [{"text": text}]}
        usage = {"promptTokenCount": _tokens(prompt), "candidatesTokenCount": _tokens(text)}
        return web.json_response({"candidates": [candidate], "usageMetadata": usage})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response({"access_token": KEY, "expires_in": 3600, "token_type": "Bearer"})

    async def _received(
        self, provider: str, model: str, prompt: str, body: dict[str, Any], request: web.Request
    ) -> web.StreamResponse | None:
        """Logs a request; the failure that it shall get, or None when it shall be answered."""
        asked = Asked(provider, model, prompt, body, dict(request.headers))
        self.asked.append(asked)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(self.latency)
            while not self._open.is_set() and self._free <= 0 and request.transport is not None:
                await asyncio.sleep(0.005)
            self._free -= 1
        finally:
            self._now -= 1
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(provider, 401, "Incorrect API key provided", "invalid_api_key", None)
        for fault in self._faults:
            if fault.text in prompt and fault.times != 0:
                fault.times = fault.times - 1 if fault.times is not None else None
                if fault.hang_up and request.transport is not None:
                    request.transport.close()
                return _error(provider, fault.status, fault.message, fault.code, fault.retry_after)
        if request.transport is not None:  # the client is still there
            self.answered.append(asked)
        return None


def google_key_file(folder: Path, token_url: str) -> Path:
    """A service account's key file, whose tokens come from the local server."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "project_id": "project-of-the-tests",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "tests@project-of-the-tests.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_url,
    }
    path = folder / "google-key.json"
    path.write_text(json.dumps(account))
    return path


def _message(text: str | None) -> dict[str, Any]:
    if text is None:
        message = {"role": "assistant", "content": None, "refusal": "I would rather not."}
        return {"finish_reason": "content_filter", "message": message}
    return {"finish_reason": "stop", "message": {"role": "assistant", "content": text}}


def _completion(model: str, kind: str, choices: list[dict[str, Any]], prompt: str) -> dict[str, Any]:
    texts = [choice["message"]["content"] if "message" in choice else choice["text"] for choice in choices]
    usage = {"prompt_tokens": _tokens(prompt), "completion_tokens": sum(_tokens(text) for text in texts)}
    usage["total_tokens"] = sum(usage.values())
    return {"id": "1", "object": kind, "created": 1, "model": model, "choices": choices, "usage": usage}


def _error(provider: str, status: int, message: str, code: str | None, retry_after: float | None) -> web.Response:
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if provider == "vertex":
        body: dict[str, Any] = {"error": {"code": status, "message": message, "status": code or "UNKNOWN"}}
    elif provider == "mistral":
        body = {"object": "error", "message": message, "type": code or "error", "code": str(status)}
    else:
        body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _tokens(text: str | None) -> int:
    return len((text or "").split())

"""What an inference server of one's own says about its queue: how many requests it works on, and how many wait.

vLLM, SGLang and others queue requests instead of refusing them, and say so at `/metrics` in Prometheus's text format:
https://docs.vllm.ai/en/latest/design/metrics and https://docs.sglang.ai/references/production_metrics.html
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from distilmq.models.requests.limiter import Limiter

EVERY = 1.0
"""Seconds between two looks while requests are out."""
PATIENCE = 5.0
"""Seconds that the server has to answer."""

_NAMES = (
    ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    ("tgi_batch_current_size", "tgi_queue_size"),
)
_PROVIDERS = (
    "anyscale.com",
    "azure.com",
    "cerebras.ai",
    "deepinfra.com",
    "deepseek.com",
    "fireworks.ai",
    "googleapis.com",
    "groq.com",
    "huggingface.co",
    "mistral.ai",
    "nvidia.com",
    "openai.com",
    "openrouter.ai",
    "perplexity.ai",
    "together.ai",
    "together.xyz",
    "x.ai",
)


@dataclass(frozen=True, slots=True)
class ServerQueue:
    """Requests at a server, whoever sent them."""

    running: int
    waiting: int


def metrics_url(base_url: str | None) -> str | None:
    """Where the server behind an address such as `http://host:8000/v1` says it; None of providers, which do not."""
    parts = urlsplit(base_url or "")
    host = parts.hostname or ""
    if not host or any(host == known or host.endswith(f".{known}") for known in _PROVIDERS):
        return None
    path = re.sub(r"/v\d+/?$", "", parts.path.rstrip("/"))
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/metrics", "", ""))


def queue_in(text: str) -> ServerQueue | None:
    """The queue in metrics as Prometheus's text format has them; None where they say nothing about one."""
    values: dict[str, float] = {}
    for line in text.splitlines():
        if (
            found := re.match(r"([a-zA-Z_:][\w:]*)(?:\{.*\})?\s+([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?:\s|$)", line)
        ) is not None:
            values[found[1]] = values.get(found[1], 0.0) + float(found[2])
    for running, waiting in _NAMES:
        if running in values and waiting in values:
            return ServerQueue(int(values[running]), int(values[waiting]))
    return None


async def watch(url: str, limiter: Limiter, *, name: str, log: logging.Logger) -> None:
    """Tells a limiter now and then how long the server's queue is, while requests are out; ends where there is none.

    Args:
        url: of the metrics.
        limiter: of the model.
        name: of the model, for the log.
        log: told once why nothing can be read.
    """
    from aiohttp import ClientError, ClientSession, ClientTimeout

    async with ClientSession(timeout=ClientTimeout(total=PATIENCE), trust_env=True) as session:
        while True:
            await asyncio.sleep(EVERY)
            if not limiter.in_flight:
                continue
            try:
                async with session.get(url) as response:
                    status, text = response.status, await response.text(errors="replace")
            except (ClientError, TimeoutError) as error:
                # A server that does not answer is dealt with where requests meet it.
                log.debug("'%s': %s gave no answer: %s", name, url, error)
                continue
            queue = queue_in(text) if status == 200 else None
            if queue is None:
                log.info(
                    "'%s': nothing about a queue at %s (status %d): its limit is learnt without.", name, url, status
                )
                return
            limiter.queued(running=queue.running, waiting=queue.waiting)

"""A model of known speed: OpenAI's chat API with so many places, long-tailed latencies, and a limit of requests.

    python -m tests.benchmarks.model_server --slots 64 --rows 600 [--rate 300]

It prints its address as one JSON line, and on SIGTERM one more with what every request took: `[came, began, ended,
row, status]`, seconds since it started. The latency of a row is drawn by its number, so that all who are measured ask
for the same work: lognormal with a median of 1 s and sigma 0.8, cut at 10 s. What comes while all places are taken
waits in the order in which it came. With `--rate` it is a bucket of one second's worth of so many requests a minute;
what is too much gets 429 with a Retry-After of when the next one may come.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import math
import random
import re
import signal
import time
from collections.abc import Iterable
from typing import Any

from aiohttp import web

MEDIAN, SIGMA, LONGEST = 1.0, 0.8, 10.0
NUMBER = re.compile(r"row (\d+)")


def latency(row: int) -> float:
    """Seconds that the answer to a row takes."""
    return min(LONGEST, MEDIAN * math.exp(SIGMA * random.Random(row).gauss(0.0, 1.0)))


def fifo(rows: Iterable[int], slots: int, rate: float | None = None) -> float:
    """Seconds of a perfect client that sends rows in order: as soon as a place, and the limit, lets the next one go."""
    free = [0.0] * slots
    burst = max(1.0, (rate or 0.0) / 60)
    end = 0.0
    for number, row in enumerate(rows):
        allowed = 0.0 if rate is None else max(0.0, (number + 1 - burst) / (rate / 60))
        begin = max(heapq.heappop(free), allowed)
        heapq.heappush(free, begin + latency(row))
        end = max(end, begin + latency(row))
    return end


class ModelServer:
    """Answers every row with its number."""

    def __init__(self, slots: int, rate: float | None) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._rate = rate
        self._level = self._burst = max(1.0, (rate or 0.0) / 60)
        self._start = self._filled = time.monotonic()
        self.log: list[tuple[float, float, float, int, int]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        came = self._now()
        body = await request.json()
        row = int(found[1]) if (found := NUMBER.search(body["messages"][-1]["content"])) else 0
        if (wait := self._over()) > 0:
            self.log.append((came, came, came, row, 429))
            headers = {"retry-after": f"{wait:.3f}"}
            return web.json_response({"error": {"message": "too many requests"}}, status=429, headers=headers)
        async with self._slots:
            began = self._now()
            try:
                await asyncio.sleep(latency(row))
            finally:
                self.log.append((came, began, self._now(), row, 200))
        message = {"role": "assistant", "content": f"answer {row}"}
        return web.json_response(
            {
                "id": "a",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        )

    def _over(self) -> float:
        """Seconds until a request would be let through; 0 when this one is."""
        if self._rate is None:
            return 0.0
        now = time.monotonic()
        self._level = min(self._burst, self._level + (now - self._filled) * self._rate / 60)
        self._filled = now
        if self._level < 1:
            return (1 - self._level) / (self._rate / 60)
        self._level -= 1
        return 0.0

    def _now(self) -> float:
        return round(time.monotonic() - self._start, 4)


async def serve(slots: int, rate: float | None) -> None:
    """Serves until SIGTERM."""
    server = ModelServer(slots, rate)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(json.dumps({"url": f"http://{host}:{port}/v1"}), flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    print(json.dumps({"log": server.log}), flush=True)
    await runner.cleanup()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--rate", type=float)
    options: Any = parser.parse_args()
    asyncio.run(serve(options.slots, options.rate))


if __name__ == "__main__":
    main()

"""A model of known speed: OpenAI's chat API with so many places, long-tailed latencies, and a limit of requests.

    python -m tests.benchmarks.model_server --slots 64 [--rate 300] [--median 1] [--faults]

It prints its address as one JSON line, with the moment of its start by the machine's monotonic clock, and on SIGTERM
one more with what every request took: `[came, began, ended, row, status]`, seconds since it started. `GET /answered`
tells how many answers have left. The latency of a row is drawn by its number, so that all who are measured ask
for the same work: lognormal with a median of 1 s and sigma 0.8, cut at 10 s. What comes while all places are taken
waits in the order in which it came. With `--rate` it is a bucket of one second's worth of so many requests a minute;
what is too much gets 429 with a Retry-After of when the next one may come. With `--faults` the first answers to three
rows are cut in the middle, and one row is always refused. Who asks for JSON gets it, in a
fence if the question has one, or as the call of a tool if it offers one.
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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

MEDIAN, SIGMA, LONGEST = 1.0, 0.8, 10.0
NUMBER = re.compile(r"row (\d+)")
MALFORMED = (50, 150, 250)
REFUSED = 100
NO_ROW = -1
"""Of a request that only tries whether somebody is there."""


def latency(row: int) -> float:
    """Seconds that the answer to a row takes, where the median is a second."""
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

    def __init__(self, slots: int, rate: float | None, median: float, *, faults: bool) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._median = median
        self._malformed = set[int](MALFORMED if faults else ())
        self._refused = REFUSED if faults else None
        self._rate = rate
        self._level = self._burst = max(1.0, (rate or 0.0) / 60)
        self._start = self._filled = time.monotonic()
        self.log: list[tuple[float, float, float, int, int]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        came = self._now()
        body = await request.json()
        asked = str(body["messages"])
        row = int(found[1]) if (found := NUMBER.search(asked)) else NO_ROW
        if (wait := self._over()) > 0:
            self.log.append((came, came, came, row, 429))
            headers = {"retry-after": f"{wait:.3f}"}
            return web.json_response({"error": {"message": "too many requests"}}, status=429, headers=headers)
        async with self._slots:
            began = self._now()
            try:
                await asyncio.sleep(latency(row) * self._median)
            finally:
                self.log.append((came, began, self._now(), row, 400 if row == self._refused else 200))
        if row == self._refused:
            error = {"message": "this prompt is against our content policy", "code": "content_filter"}
            return web.json_response({"error": error}, status=400)
        text = self._text(row, as_json=_wants_json(body))
        if "```" in asked:
            text = f"```json\n{text}\n```"
        message = _message(text, body.get("tools"))
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

    async def answered(self, request: web.Request) -> web.StreamResponse:
        """How many answers have left."""
        return web.json_response({"answered": sum(1 for *_, status in self.log if status == 200)})

    @property
    def started(self) -> float:
        """By the machine's monotonic clock."""
        return self._start

    def _text(self, row: int, *, as_json: bool) -> str:
        text = f"answer {row}"
        if as_json:
            text = json.dumps({"answer": text})
        if row in self._malformed:
            self._malformed.remove(row)
            return text[: len(text) // 2]
        return text

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


def _wants_json(body: Mapping[str, Any]) -> bool:
    return "response_format" in body or "tools" in body or "json" in str(body["messages"]).lower()


def _message(text: str, tools: Sequence[Any] | None) -> dict[str, Any]:
    if not tools:
        return {"role": "assistant", "content": text}
    call = {"id": "c", "type": "function", "function": {"name": tools[0]["function"]["name"], "arguments": text}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def serve(server: ModelServer) -> None:
    """Serves until SIGTERM."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    app.router.add_get("/answered", server.answered)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(json.dumps({"url": f"http://{host}:{port}/v1", "started": server.started}), flush=True)
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
    parser.add_argument("--median", type=float, default=MEDIAN)
    parser.add_argument("--faults", action="store_true")
    options: Any = parser.parse_args()
    asyncio.run(serve(ModelServer(options.slots, options.rate, options.median, faults=options.faults)))


if __name__ == "__main__":
    main()

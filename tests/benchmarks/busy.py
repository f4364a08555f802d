"""How busy a model is kept: runs against the model server, judged by the server's own log."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import measure
from tests.benchmarks.model_server import fifo

HERE = Path(__file__).parent
SLOTS = 64


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table."""

    what: str
    target: str
    most: float
    """The ratio that is to be reached."""
    rows: int = 600
    tasks: int = 1
    rate: float | None = None
    """Requests per minute that the server lets through; None for any number."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Of the model."""
    whole: bool = False
    """Whether the whole process is compared, from its start with all imports, and not only the requests."""


CASES = {
    "told": Case("one task, the limit told", "1.02", 1.02, options={"max_concurrency": SLOTS}),
    "learnt": Case("one task, the limit learnt", "1.08", 1.08),
    "process": Case("one task, the whole process", "1.18", 1.18, whole=True),
    "three tasks": Case("three tasks and a group, the whole process", "1.16", 1.16, tasks=3, whole=True),
    "300 told": Case(
        "300 requests a minute, told", "1.08", 1.08, rows=200, rate=300, options={"requests_per_minute": 300}
    ),
    "300 learnt": Case("300 requests a minute, from refusals alone", "1.3", 1.3, rows=200, rate=300),
    "600 learnt": Case("600 requests a minute, from refusals alone", "1.3", 1.3, rows=300, rate=600),
}


def run(case: Case) -> dict[str, Any]:
    """One run: its ratio to what a perfect client needs, and what the server saw."""
    ideal = fifo([row for row in range(case.rows) for _ in range(case.tasks)], SLOTS, case.rate)
    with _server(case.rate) as (url, log):
        env = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "a-key"}
        command = [str(HERE / "model_runs.py"), str(case.rows), str(case.tasks), json.dumps(case.options)]
        began = time.monotonic()
        lost = measure([sys.executable, *command], cwd=Path(tempfile.gettempdir()), env=env).result["lost"]
        process = time.monotonic() - began
    # The block is over: the log is there.
    answered = [(began, ended) for _, began, ended, _, status in log if status == 200]
    first, last = min(came for came, *_ in log), max(ended for _, ended in answered)
    span = last - first
    moments = [first + span * share / 100 for share in range(10, 91)]
    busy = sorted(sum(1 for began, ended in answered if began <= moment < ended) for moment in moments)
    return {
        "ratio": round((process if case.whole else span) / ideal, 3),
        "ideal": round(ideal, 2),
        "span": round(span, 2),
        "process": round(process, 2),
        "refused": len(log) - len(answered),
        "lost": lost,
        "busy_median": statistics.median(busy),
        "busy_p5": busy[len(busy) // 20],
    }


@contextmanager
def _server(rate: float | None) -> Iterator[tuple[str, list[Any]]]:
    """The model server; its log is complete when the block is over."""
    command = [sys.executable, "-m", "tests.benchmarks.model_server", "--slots", str(SLOTS)]
    limit = [] if rate is None else ["--rate", str(rate)]
    log: list[Any] = []
    with subprocess.Popen([*command, *limit], stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        try:
            yield url, log
        finally:
            server.terminate()
            log += json.loads(server.stdout.readline())["log"]

"""How busy a model is kept: runs against the model server, judged by the server's own log."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import measure
from tests.benchmarks.model_server import fifo
from tests.benchmarks.model_servers import SLOTS, Entry, model_server

HERE = Path(__file__).parent
OURS = (sys.executable, str(HERE / "model_runs.py"))
"""The command that is measured; those of others take the same."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table."""

    what: str
    target: str
    most: float
    """The ratio that is to be reached; infinite where only rows count."""
    rows: int = 600
    tasks: int = 1
    rate: float | None = None
    """Requests per minute that the server lets through; None for any number."""
    limit: int | None = None
    """Requests at once that are told to the model."""
    told_rate: int | None = None
    """Requests per minute that are told to the model."""
    faults: bool = False
    """Whether the answers have a schema, three of them are cut, and one row is always refused."""
    whole: bool = False
    """Whether the whole process is compared, from its start with all imports, and not only the requests."""

    def ratio(self, seen: dict[str, Any]) -> float:
        """What a run took to what a perfect client needs."""
        return (seen["process"] if self.whole else seen["span"]) / seen["ideal"]

    def reached(self, seen: Sequence[dict[str, Any]]) -> bool:
        """Whether the runs reach what is to be reached."""
        lost = sum(run["lost"] for run in seen)
        failed_right = all(run.get("failed", 0) == int(self.faults) for run in seen)
        return statistics.median(map(self.ratio, seen)) <= self.most and not lost and failed_right

    @property
    def arguments(self) -> str:
        """What the command is told."""
        asked = {"rows": self.rows, "tasks": self.tasks, "limit": self.limit, "rate": self.told_rate}
        return json.dumps({**asked, "json": self.faults})


CASES = {
    "told": Case("one task, the limit told", "1.02", 1.02, limit=SLOTS),
    "learnt": Case("one task, the limit learnt", "1.08", 1.08),
    "process": Case("one task, the whole process", "1.18", 1.18, whole=True),
    "three tasks": Case("three tasks and a group, the whole process", "1.16", 1.16, tasks=3, whole=True),
    "300 told": Case("300 requests a minute, told", "1.08", 1.08, rows=200, rate=300, told_rate=300),
    "300 learnt": Case("300 requests a minute, from refusals alone", "1.3", 1.3, rows=200, rate=300),
    "600 learnt": Case("600 requests a minute, from refusals alone", "1.3", 1.3, rows=300, rate=600),
    "faults": Case(
        "three malformed answers and one row that is always refused",
        "0 lost, 1 failed",
        math.inf,
        rows=300,
        faults=True,
    ),
}


def run(case: Case, command: Sequence[str] = OURS) -> dict[str, Any]:
    """One run: what it took, what a perfect client needs, and what the server saw."""
    ideal = fifo([row for row in range(case.rows) for _ in range(case.tasks)], SLOTS, case.rate)
    with model_server(rate=case.rate, faults=case.faults) as server:
        env = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "a-key"}
        began = time.monotonic()
        result = measure([*command, case.arguments], cwd=Path(tempfile.gettempdir()), env=env).result
        process = time.monotonic() - began
    # The block is over: the log is there.
    first, last = min(entry.came for entry in server.log), max(entry.ended for entry in server.answered)
    busy = in_flight(server.answered)
    return {
        "ideal": round(ideal, 2),
        "span": round(last - first, 2),
        "process": round(process, 2),
        "requests": len(server.log),
        "refused": sum(entry.status == 429 for entry in server.log),
        "lost": result["lost"],
        "failed": result["failed"],
        "in_flight_median": statistics.median(busy),
        "in_flight_p5": busy[len(busy) // 20],
    }


def in_flight(answered: Sequence[Entry]) -> list[int]:
    """How many requests were being answered, at a thousand moments, the least first.

    They lie between the moments when a tenth and when nine tenths of all requests had begun: behind that the last ones
    are waited for, and no client can have more in flight than are left.
    """
    begun = sorted(entry.began for entry in answered)
    first, last = begun[len(begun) // 10], begun[len(begun) * 9 // 10]
    moments = [first + (last - first) * share / 1000 for share in range(1000)]
    return sorted(sum(entry.began <= moment < entry.ended for entry in answered) for moment in moments)

"""What a kill costs: every process of a run is killed at about half way, and the next run goes on.

The server's log tells which requests had been answered by then, and which of those were sent again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil

from tests.benchmarks.busy import OURS, Case
from tests.benchmarks.measure import BenchmarkFailedError, measure
from tests.benchmarks.model_servers import Entry, Running, model_server

CASE = Case("", "", 0, rows=300)
MEDIAN = 0.5
"""Seconds that the usual answer takes."""
YOUNG = 0.5
"""Seconds within which an answer may be lost with the processes."""
PATIENCE = 120.0
"""Seconds after which a run is taken for one that hangs."""


def run(seed: int, command: Sequence[str] = OURS, case: Case = CASE) -> dict[str, Any]:
    """One kill: what had been answered, what was sent again, and what became of the next run."""
    half = case.rows * Random(seed).uniform(0.4, 0.6)
    with model_server(median=MEDIAN) as server, tempfile.TemporaryDirectory(prefix="bench-kill-") as cache:
        env = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "a-key", "BENCH_CACHE": cache}
        killed_at = _killed(server, [*command, case.arguments], env, half) - server.started
        try:
            lost = measure([*command, case.arguments], cwd=Path(cache), env=env, timeout=PATIENCE).result["lost"]
        except BenchmarkFailedError as error:
            lost = "does not end" if error.killed else "ends with an error"
    before = {entry.row: entry.ended for entry in server.answered if entry.ended <= killed_at and entry.row >= 0}
    again = {entry.row for entry in server.log if entry.row in before and entry.came > killed_at}
    return {
        "answered": len(before),
        "in_flight": _in_flight(server.log, killed_at),
        "again": len(again),
        "again_old": sum(before[row] <= killed_at - YOUNG for row in again),
        "lost": lost,
    }


def _killed(server: Running, command: Sequence[str], env: dict[str, str], half: float) -> float:
    """Starts a run and kills it when so many answers have left; gives the moment before the first is killed."""
    with subprocess.Popen(
        command, env=env, cwd=env["BENCH_CACHE"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while server.count() < half:
            if process.poll() is not None or time.monotonic() > deadline:
                endless = process.poll() is None
                _kill_everything(process.pid)
                raise BenchmarkFailedError(f"{' '.join(command)} was not half done", killed=endless)
            threading.Event().wait(0.02)
        return _kill_everything(process.pid)


def _kill_everything(pid: int) -> float:
    """Kills a process and all below it; gives the moment before."""
    with suppress(psutil.NoSuchProcess):
        script = psutil.Process(pid)
        processes = [script, *script.children(recursive=True)]
        at = time.monotonic()
        for one in processes:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)
        return at
    return time.monotonic()


def _in_flight(log: Sequence[Entry], moment: float) -> int:
    return sum(entry.came <= moment < entry.ended for entry in log)

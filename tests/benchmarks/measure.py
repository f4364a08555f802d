"""Runs a command and tells its result, the processor time of all its processes, and the peak memory of each part."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

EVERY = 0.05
"""Seconds between two looks at the processes; the kernel keeps the peaks in between."""

_PARTS = (
    ("distilmq_broker.routing", "router"),
    ("distilmq_broker", "coordinator"),
    ("distilmq_workers.process", "worker"),
    ("distilmq_workers", "supervisor"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what it printed, and what it took."""

    result: dict[str, Any]
    cpu_seconds: float
    """Of the process and of all below it, user and system."""
    peaks: dict[str, float] = field(default_factory=dict)
    """Peak resident memory in MB of each part; of the largest worker."""


class BenchmarkFailedError(Exception):
    """A measured command ended badly, or was killed because it took too long; the text is the end of its output."""

    def __init__(self, message: str, *, killed: bool) -> None:
        super().__init__(message)
        self.killed = killed


def measure(
    command: list[str], *, cwd: Path | None = None, timeout: float = 900, env: dict[str, str] | None = None
) -> Measured:
    """Runs a command that prints `RESULT {json}`.

    Raises:
        BenchmarkFailedError: it ended badly, printed no result or took too long.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    over = threading.Event()
    peaks: dict[str, float] = {}
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, over))
    killer = threading.Timer(timeout, _kill_session, [process.pid])
    watcher.start()
    killer.start()
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    over.set()
    killer.cancel()
    watcher.join()
    process.stdout.close()
    results = [line.removeprefix("RESULT ") for line in output.splitlines() if line.startswith("RESULT ")]
    if process.returncode or not results:
        raise BenchmarkFailedError(
            f"{' '.join(command)} ended with {process.returncode}:\n{output[-3000:]}",
            killed=process.returncode == -signal.SIGKILL,
        )
    return Measured(json.loads(results[-1]), usage.ru_utime + usage.ru_stime, peaks)


def _kill_session(pid: int) -> None:
    """Kills the process and all of its session: a peer that hangs leaves its children to the pipe we read."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _watch(pid: int, peaks: dict[str, float], over: threading.Event) -> None:
    while not over.wait(EVERY):
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.Error, OSError):
                    part = "client" if process.pid == pid else _part(process)
                    peaks[part] = max(peaks.get(part, 0.0), _peak(process.pid))


def _part(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    return next((part for module, part in _PARTS if module in line), "other")


def _peak(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0

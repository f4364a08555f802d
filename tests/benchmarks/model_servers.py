"""Starting the model server in a process of its own, and reading its log."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SLOTS = 64


class Entry(NamedTuple):
    """One request, as the server saw it; times are seconds since it started."""

    came: float
    began: float
    ended: float
    row: int
    status: int


@dataclass(frozen=True, slots=True)
class Running:
    """A model server that runs."""

    url: str
    started: float
    """By the machine's monotonic clock."""
    log: list[Entry] = field(default_factory=list[Entry])
    """Complete when the server has ended."""

    @property
    def answered(self) -> list[Entry]:
        """The requests that got an answer."""
        return [entry for entry in self.log if entry.status == 200]

    def count(self) -> int:
        """How many answers have left so far."""
        with urllib.request.urlopen(self.url.replace("/v1", "/answered"), timeout=10) as answer:
            return int(json.load(answer)["answered"])


@contextmanager
def model_server(
    *, slots: int = SLOTS, rate: float | None = None, median: float = 1.0, faults: bool = False
) -> Iterator[Running]:
    """A model server; its log is there when the block is over."""
    command = [sys.executable, "-m", "tests.benchmarks.model_server", "--slots", str(slots), "--median", str(median)]
    command += [] if rate is None else ["--rate", str(rate)]
    command += ["--faults"] if faults else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent) as server:
        assert server.stdout is not None
        running = Running(**json.loads(server.stdout.readline()))
        try:
            yield running
        finally:
            server.terminate()
            running.log.extend(Entry(*entry) for entry in json.loads(server.stdout.readline())["log"])

"""The peak memory of client, broker and coordinator for a large result at a broker: prints one line.

    python -m tests.benchmarks.large_result MEGABYTES [MEGABYTES OF A BATCH]

A generator gives rows of 50 KB, which a client in a process of its own fetches with `run.distiset()` when the run is
over. What counts is memory of the processes' own (RssAnon): pages of files that are mapped, the dataset's among them,
are given back when something else needs room.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distilmq.pipeline import Pipeline
from distilmq.steps import GeneratorStep
from tests.broker.front.brokers import Program, broker_in
from tests.integration.hosts import hosts_of

ROW_BYTES = 50_000
_CLIENT = """
import sys
from distilmq.pipeline import Pipeline
run = Pipeline.attach(sys.argv[1], sys.argv[2], cache_dir=sys.argv[3])
print(len(run.distiset()["default"]["train"]))
"""


class Texts(GeneratorStep):
    """Gives `total` rows with texts of 50,000 bytes, no two of them alike."""

    total: int

    @property
    def outputs(self) -> list[str]:
        """What it gives."""
        return ["id", "text"]

    def process(self, offset: int = 0) -> Iterator[Any]:
        """Batch by batch."""
        for start in range(offset, self.total, self.batch_size):
            end = min(start + self.batch_size, self.total)
            rows = [{"id": number, "text": os.urandom(16).hex() * (ROW_BYTES // 32)} for number in range(start, end)]
            yield rows, end == self.total


class Peaks:
    """The most memory that some processes had, in megabytes."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def look(self, processes: dict[str, int]) -> None:
        """Looks at each once; one that is gone is passed over."""
        for name, pid in processes.items():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        self.found[name] = max(self.found.get(name, 0.0), int(line.split()[1]) / 1024)

    def watch(self, processes: Callable[[], dict[str, int]], over: Callable[[], bool]) -> None:
        """Looks again and again until it is over."""
        while not over():
            self.look(processes())
            time.sleep(0.01)


def peaks_of(megabytes: int, batch_megabytes: float, folder: Path) -> dict[str, float]:
    """Peaks of `client`, `broker` and `coordinator`, in megabytes."""
    total = megabytes * 1_000_000 // ROW_BYTES
    peaks = Peaks()
    with broker_in(folder / "broker", tcp=True) as program, hosts_of(program, folder) as hosts:
        hosts.start("host", "--slots", "1")
        target = str(program.folder / "keys" / "client.json")
        with Pipeline("bench-large") as pipeline:
            Texts(name="load", total=total, batch_size=max(1, int(batch_megabytes * 1_000_000 / ROW_BYTES)))
        run = pipeline.submit(target)
        peaks.watch(lambda: _serving(program), lambda: run.info().state != "running")
        client = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, run.id, target, str(folder / "cache")], stdout=subprocess.PIPE, text=True
        )
        peaks.watch(lambda: {**_serving(program), "client": client.pid}, lambda: client.poll() is not None)
        rows = int(client.communicate()[0])
    if rows != total:
        raise AssertionError(f"{rows} of {total} rows came")
    return {name: round(peak, 1) for name, peak in sorted(peaks.found.items())}


def _serving(program: Program) -> dict[str, int]:
    found = {"broker": program.process.pid}
    for coordinator in program.coordinators():
        found["coordinator"] = coordinator.pid
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=os.environ.get("DISTILMQ_BENCHMARK_DIR")) as where:
        size, batch = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
        peaks = peaks_of(size, batch, Path(where))
    print("RESULT " + json.dumps({"megabytes": size, "batch": batch, **peaks}), flush=True)

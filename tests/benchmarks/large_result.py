"""The peak memory of client, broker and coordinator for a large result at a broker: prints one line.

    python -m tests.benchmarks.large_result MEGABYTES [MEGABYTES OF A BATCH] [distiset|fetch|list|dataset]

A generator gives rows of 50 KB, which a client in a process of its own fetches with `run.distiset()` when the run is
over, or with `distilmq runs fetch`. With `list` or `dataset` the rows are what a client submits, as a list or as a
`Dataset` of files, and what comes out is fetched with `distilmq runs fetch`. What counts is memory of the processes'
own (RssAnon): pages of files that are mapped, the dataset's among them, are given back when something else needs room.
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
from typing import Any, Literal

from distilmq.distiset import Distiset
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
_FETCHING = "import sys; from distilmq.cli.app import main; sys.argv[0] = 'distilmq'; main()"
_SUBMITTING = """
import os, sys
from distilmq.pipeline import Pipeline
from distilmq.steps import KeepColumns
kind, total, length, target, cache = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]

def rows():
    for number in range(total):
        yield {"id": number, "text": os.urandom(16).hex() * (length // 32)}

if kind == "list":
    data = list(rows())
else:
    from datasets import Dataset
    data = Dataset.from_generator(rows, cache_dir=cache)
with Pipeline("bench-given", cache_dir=cache) as pipeline:
    KeepColumns(name="keep", columns=["id", "text"])
print(pipeline.submit(target, dataset=data).id)
"""
How = Literal["distiset", "fetch", "list", "dataset"]
"""How rows come from the client, or to it."""


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


def peaks_of(megabytes: int, batch_megabytes: float, folder: Path, how: How = "distiset") -> dict[str, float]:
    """Peaks of `client`, `broker` and `coordinator`, in megabytes; of who submits rows, too, where a client does."""
    total = megabytes * 1_000_000 // ROW_BYTES
    peaks = Peaks()
    with broker_in(folder / "broker", tcp=True) as program, hosts_of(program, folder) as hosts:
        hosts.start("host", "--slots", "1")
        target = str(program.folder / "keys" / "client.json")
        cache = str(folder / "cache")

        def watched(name: str, *command: str) -> str:
            """What a process of a client has said when it has ended."""
            client = subprocess.Popen([sys.executable, "-c", *command], stdout=subprocess.PIPE, text=True)
            peaks.watch(lambda: {**_serving(program), name: client.pid}, lambda: client.poll() is not None)
            return client.communicate()[0]

        if how in ("list", "dataset"):
            run_id = watched("submitter", _SUBMITTING, how, str(total), str(ROW_BYTES), target, cache).strip()
            run = Pipeline.attach(run_id, target)
        else:
            with Pipeline("bench-large") as pipeline:
                Texts(name="load", total=total, batch_size=max(1, int(batch_megabytes * 1_000_000 / ROW_BYTES)))
            run = pipeline.submit(target)
        peaks.watch(lambda: _serving(program), lambda: run.info().state not in ("submitted", "running"))
        if how == "distiset":
            rows = int(watched("client", _CLIENT, run.id, target, cache))
        else:
            watched("client", _FETCHING, "runs", "fetch", run.id, str(folder / "fetched"), "--broker", target)
            rows = len(Distiset.load_from_disk(folder / "fetched")["default"]["train"])
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
        by: Any = sys.argv[3] if len(sys.argv) > 3 else "distiset"
        peaks = peaks_of(size, batch, Path(where), by)
    print("RESULT " + json.dumps({"megabytes": size, "batch": batch, "how": by, **peaks}), flush=True)

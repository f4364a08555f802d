"""One run at a broker on this machine, with keys over TCP or without over a local socket: prints one JSON line.

    python -m tests.benchmarks.submitted curve|plain ROWS

A generator and two steps that do nothing, batches of 50 rows of 1 KB; each batch goes through the broker twice.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distilmq.pipeline import Pipeline
from distilmq.steps import GeneratorStep, Step, StepInput
from tests.broker.front.brokers import broker_in
from tests.integration.hosts import hosts_of

BATCH = 50


class Rows(GeneratorStep):
    """Gives `total` rows with texts of 1,000 bytes."""

    total: int

    @property
    def outputs(self) -> list[str]:
        """What it gives."""
        return ["id", "text"]

    def process(self, offset: int = 0) -> Iterator[Any]:
        """Batch by batch."""
        for start in range(offset, self.total, self.batch_size):
            end = min(start + self.batch_size, self.total)
            rows = [{"id": number, "text": (f"{number:08d} " * 112)[:1000]} for number in range(start, end)]
            yield rows, end == self.total


class Same(Step):
    """Does nothing."""

    def process(self, *inputs: StepInput) -> Iterator[Any]:
        """Gives what it gets."""
        yield inputs[0]


def seconds(rows: int, folder: Path, *, tcp: bool) -> float:
    """From the submission to the dataset, with workers that wait for it."""
    with broker_in(folder / "broker", tcp=tcp) as program, hosts_of(program, folder) as hosts:
        hosts.start("host", "--slots", "3")
        with Pipeline("bench-submitted") as pipeline:
            Rows(name="load", total=rows, batch_size=BATCH) >> Same(name="first") >> Same(name="second")
        target = str(program.folder / "keys" / "client.json") if tcp else program.endpoint
        start = time.perf_counter()
        distiset = pipeline.run(broker=target)
        taken = time.perf_counter() - start
    assert len(distiset["default"]["train"]) == rows
    return taken


def main() -> None:
    """Runs it once."""
    with tempfile.TemporaryDirectory(prefix="distilmq-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["DISTILMQ_CACHE_DIR"] = f"{folder}/cache"
        taken = seconds(int(sys.argv[2]), Path(folder), tcp=sys.argv[1] == "curve")
    print("RESULT " + json.dumps({"seconds": taken}), flush=True)


if __name__ == "__main__":
    main()

"""Measures everything that `docs/benchmarks.md` shows and records it in `results/`, one file a row of its table.

    python -m tests.benchmarks.run [NAME ...] [--peer-python PEER=PATH ...] [--times N]

distilabel, Curator and DataDesigner are each installed into an environment of their own that is thrown away afterwards,
or taken from `--peer-python`. Where one cannot be installed the page says that it was not measured. Runs of peers, of
the floor and of distilmq alternate, so that all see the same machine; the median of each is kept.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.benchmarks import busy, client, contest, kills
from tests.benchmarks.cases import CASES, TWICE
from tests.benchmarks.environments import environments
from tests.benchmarks.measure import BenchmarkFailedError, measure

HERE = Path(__file__).parent
RESULTS = HERE / "results"
KILL_SEEDS = range(20)


class Bench:
    """The interpreters of a session and how often each run is made."""

    def __init__(self, pythons: Mapping[str, str], times: int) -> None:
        self.pythons = pythons
        self.peer_python = pythons.get("distilabel")
        self.times = times

    def ours(self, scenario: str, rows: int) -> float:
        return self._scenario(sys.executable, "distilmq", scenario, rows)

    def peer(self, scenario: str, rows: int) -> float | None:
        if self.peer_python is None:
            return None
        return self._scenario(self.peer_python, "distilabel", scenario, rows)

    def floor(self, rows: int) -> float:
        return self._seconds([sys.executable, str(HERE / "floor.py"), str(rows)])

    def dataset_map(self, rows: int) -> float:
        return self._seconds([sys.executable, str(HERE / "dataset_map.py"), str(rows)])

    def alternating(self, **runs: Callable[[], float | None]) -> dict[str, list[float]]:
        """Makes all runs in turn, `times` times; those that give None are left out."""
        found: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(self.times):
            for name, run in runs.items():
                if (value := run()) is not None:
                    found[name].append(round(value, 3))
                    print(f"  {name}: {value:.3f}", flush=True)
        return {name: values for name, values in found.items() if values}

    def _scenario(self, python: str, library: str, scenario: str, rows: int) -> float:
        return self._seconds([python, str(HERE / "scenarios.py"), library, scenario, str(rows)])

    def _seconds(self, command: list[str]) -> float:
        # Away from the repository: a peer must not find our packages by its working directory.
        return float(measure(command, cwd=Path(tempfile.gettempdir())).result["seconds"])


def throughput(bench: Bench) -> dict[str, Any]:
    """Step-results/s of a generator and two steps, as the slope between 10,000 and 50,000 rows of 1 KB."""

    def slope(run: Callable[[int], float | None]) -> float | None:
        few, many = run(10_000), run(50_000)
        if few is None or many is None:
            return None
        return (50_000 - 10_000) / 50 * 3 / (many - few)

    return bench.alternating(
        distilmq=lambda: slope(lambda rows: bench.ours("chain-1000", rows)),
        distilabel=lambda: slope(lambda rows: bench.peer("chain-1000", rows)),
        floor=lambda: slope(bench.floor),
    )


def chain(bench: Bench) -> dict[str, Any]:
    """Seconds for 50,000 rows of 200 B through two steps, `run()` to Distiset."""
    return bench.alternating(
        distilmq=lambda: bench.ours("chain-200", 50_000),
        distilabel=lambda: bench.peer("chain-200", 50_000),
        dataset_map=lambda: bench.dataset_map(50_000),
    )


def diamond(bench: Bench) -> dict[str, Any]:
    """Seconds for 10,000 rows through the guide's diamond without models."""
    return bench.alternating(
        distilmq=lambda: bench.ours("diamond", 10_000), distilabel=lambda: bench.peer("diamond", 10_000)
    )


def one_row(bench: Bench) -> dict[str, Any]:
    """Seconds for a pipeline of one row, `run()` to Distiset."""
    return bench.alternating(distilmq=lambda: bench.ours("chain-200", 1), distilabel=lambda: bench.peer("chain-200", 1))


def importing(bench: Bench) -> dict[str, Any]:
    """Seconds of `import distilmq.pipeline` in a fresh interpreter."""

    def seconds(python: str | None, library: str) -> float | None:
        code = (
            f"import time, json; start = time.perf_counter(); import {library}.pipeline; "
            "print('RESULT', json.dumps({'seconds': time.perf_counter() - start}))"
        )
        return None if python is None else bench._seconds([python, "-c", code])

    return bench.alternating(
        distilmq=lambda: seconds(sys.executable, "distilmq"),
        distilabel=lambda: seconds(bench.peer_python, "distilabel"),
    )


def growth(bench: Bench) -> dict[str, Any]:
    """Processor time and peak memory from 10,000 to 300,000 rows of 200 B through two steps."""
    found: dict[str, Any] = {}
    for rows in (10_000, 30_000, 100_000, 300_000):
        command = [sys.executable, str(HERE / "scenarios.py"), "distilmq", "chain-200", str(rows)]
        measured = measure(command, cwd=Path(tempfile.gettempdir()))
        found[str(rows)] = {
            "seconds": round(measured.result["seconds"], 3),
            "cpu_seconds": round(measured.cpu_seconds, 3),
            "peak_mb": {part: round(peak, 1) for part, peak in sorted(measured.peaks.items())},
        }
        print(f"  {rows}: {found[str(rows)]}", flush=True)
    return found


def behaviour(bench: Bench) -> dict[str, Any]:
    """What comes out in awkward cases: the rows, or that the run had not ended after a minute."""
    contenders = {"distilmq": sys.executable, "distilabel": bench.peer_python}
    found: dict[str, Any] = {}
    for case in CASES:
        found[case] = {
            library: _outcome(python, library, case) for library, python in contenders.items() if python is not None
        }
        print(f"  {case}: {found[case]}", flush=True)
    return found


def _outcome(python: str, library: str, case: str) -> Any:
    """The pairs that the last run of the case gave, or how it ended."""
    outcome: Any = None
    with tempfile.TemporaryDirectory(prefix="distilmq-bench-", ignore_cleanup_errors=True) as cache:
        for factor in ("1", "2") if case in TWICE else ("1",):
            command = [python, str(HERE / "behaviour.py"), library, case, cache, factor]
            try:
                outcome = measure(command, cwd=Path(tempfile.gettempdir()), timeout=60).result["pairs"]
            except BenchmarkFailedError as error:
                outcome = "does not end" if error.killed else "ends with an error"
    return outcome


def models(bench: Bench) -> dict[str, Any]:
    """How busy a model with 64 places and long-tailed latencies is kept, against a perfect client."""
    found: dict[str, Any] = {}
    for name, case in busy.CASES.items():
        found[name] = [busy.run(case) for _ in range(bench.times)]
        print(f"  {name}: {found[name]}", flush=True)
    return found


def kill(bench: Bench) -> dict[str, Any]:
    """What is sent again after everything was killed at about half way, at twenty moments."""
    found: list[dict[str, Any]] = []
    for seed in KILL_SEEDS:
        found.append(kills.run(seed))
        print(f"  {seed}: {found[-1]}", flush=True)
    return {"distilmq": found}


def cost_of_a_request(bench: Bench) -> dict[str, Any]:
    """Requests per second of one worker process, and of the bare client of OpenAI."""
    return bench.alternating(
        distilmq=client.requests_per_second, client=lambda: client.requests_per_second(client.BARE)
    )


def others(bench: Bench) -> dict[str, Any]:
    """What others take for the same tasks, and what they ask again after a kill."""
    return {"versions": versions(bench.pythons), **contest.contest(bench.pythons, bench.times)}


def keys(bench: Bench) -> dict[str, Any]:
    """Step-results/s at a broker of batches of 50 KB, over TCP with keys and over a local socket without."""

    def slope(way: str) -> float:
        def seconds(rows: int) -> float:
            command = [sys.executable, "-m", "tests.benchmarks.submitted", way, str(rows)]
            return float(measure(command, cwd=HERE.parents[1]).result["seconds"])

        few, many = seconds(10_000), seconds(60_000)
        return (60_000 - 10_000) / 50 * 3 / (many - few)

    return bench.alternating(curve=lambda: slope("curve"), plain=lambda: slope("plain"))


def crowd(bench: Bench) -> dict[str, Any]:
    """A thousand simulated workers at a broker: how soon all are in, what their beats cost, and that nobody starves."""
    found: list[dict[str, Any]] = []
    for _ in range(bench.times):
        found.append(measure([sys.executable, "-m", "tests.benchmarks.crowd"], cwd=HERE.parents[1]).result)
        print(f"  {found[-1]}", flush=True)
    return {"distilmq": found}


def large(bench: Bench) -> dict[str, Any]:
    """Peak memory for large results at a broker: megabytes in all, of a batch, and of each process."""
    found: list[dict[str, Any]] = []
    for case in ("400 2", "2000 2", "400 400", "2000 2 fetch", "300 2 list", "300 2 dataset"):
        command = [sys.executable, "-m", "tests.benchmarks.large_result", *case.split()]
        found.append(measure(command, cwd=HERE.parents[1], timeout=1800).result)
        print(f"  {found[-1]}", flush=True)
    return {"peaks": found}


BENCHMARKS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "throughput": throughput,
    "chain": chain,
    "diamond": diamond,
    "one_row": one_row,
    "import": importing,
    "growth": growth,
    "behaviour": behaviour,
    "models": models,
    "kill": kill,
    "client": cost_of_a_request,
    "others": others,
    "keys": keys,
    "crowd": crowd,
    "large": large,
}


def versions(pythons: Mapping[str, str]) -> dict[str, str]:
    """Of the peers that are there."""
    packages = {"distilabel": "distilabel", "Curator": "bespokelabs-curator", "DataDesigner": "data-designer"}
    found = {"asyncio": importlib.metadata.version("openai")}
    for name, python in pythons.items():
        code = f"import importlib.metadata; print(importlib.metadata.version({packages[name]!r}))"
        found[name] = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return found


def machine() -> dict[str, str]:
    """Where and with what the figures were measured."""
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "cpu": f"{os.cpu_count()} x {model}",
        "python": platform.python_version(),
        "pyzmq": importlib.metadata.version("pyzmq"),
        "datasets": importlib.metadata.version("datasets"),
    }


def main() -> None:
    """Measures what was asked for, or everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--peer-python", action="append", default=[], metavar="PEER=PATH")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    given = dict(peer.split("=", 1) for peer in options.peer_python)
    with nullcontext({}) if options.no_peer else environments(given) as pythons:
        bench = Bench(pythons, options.times)
        for name in options.names or BENCHMARKS:
            print(f"{name}: {BENCHMARKS[name].__doc__}", flush=True)
            try:
                values = BENCHMARKS[name](bench)
            except BenchmarkFailedError as error:
                raise SystemExit(f"{name} failed: {error}") from error
            record = {"machine": machine(), "values": values}
            (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Chaos by seeds, each in a process of its own.

    python -m tests.chaos.run [--seeds 200] [--first 0] [--jobs 2] [--keep FOLDER] [--record]

Says of each seed what was done and what was wrong, and how to repeat it. `--record` writes the figures where
`docs/build.py` finds them; `--keep` keeps journals and logs, else only those of seeds that went wrong are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.run import RESULTS, machine
from tests.chaos.schedule import drawn
from tests.chaos.story import ROWS, Told, tell

ROOT = Path(__file__).parents[2]
MOST = 600.0
"""Seconds for a seed, whatever becomes of it."""


def one(seed: int, folder: Path) -> Told:
    """A seed in a process of its own."""
    command = [sys.executable, "-m", "tests.chaos.run", "--only", str(seed), "--keep", str(folder)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MOST)
    except subprocess.TimeoutExpired:
        return Told(seed, MOST, wrong=[f"it did not end within {MOST:.0f} s"])
    found = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        return Told(seed, wrong=[f"it ended with {done.returncode}: {done.stderr[-2000:]}"])
    return Told(**json.loads(found[0]))


def figures(told: Sequence[Told], seconds: float, jobs: int) -> dict[str, Any]:
    """What is recorded of many seeds."""
    return {
        "seeds": len(told),
        "first": min(each.seed for each in told),
        "wrong": [each.seed for each in told if each.wrong],
        "rows": ROWS,
        "kinds": dict(sorted(Counter(fault.kind for each in told for fault in drawn(each.seed).faults).items())),
        "faults": sum(each.faults for each in told),
        "batches": sum(each.batches for each in told),
        "again": sum(each.again for each in told),
        "asked": sum(each.asked for each in told),
        "seconds": round(seconds),
        "jobs": jobs,
        "growth": {
            who: max(each.growth.get(who, 0.0) for each in told)
            for who in sorted({who for each in told for who in each.growth})
        },
    }


def record(told: Sequence[Told], seconds: float, jobs: int) -> None:
    """Writes the figures of the seeds so far: whoever stops in the middle has those."""
    values = figures(told, seconds, jobs)
    (RESULTS / "chaos.json").write_text(json.dumps({"machine": machine(), "values": values}, indent=2) + "\n")


def main() -> None:
    """Runs the seeds; the exit code is 1 if one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        print("RESULT " + json.dumps(asdict(tell(options.only, options.keep))), flush=True)
        return
    folder = options.keep or Path(tempfile.mkdtemp(prefix="distilmq-chaos-"))
    began = time.monotonic()
    told: list[Told] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        seeds = range(options.first, options.first + options.seeds)
        for each in pool.map(lambda seed: one(seed, folder / str(seed)), seeds):
            told.append(each)
            print(each, flush=True)
            if options.record:
                record(told, time.monotonic() - began, options.jobs)
            if not each.wrong and options.keep is None:
                shutil.rmtree(folder / str(each.seed), ignore_errors=True)
    wrong = [each.seed for each in told if each.wrong]
    print(f"{len(told)} seeds, {len(wrong)} of them wrong{': ' if wrong else ''}{', '.join(map(str, wrong))}")
    if wrong:
        print(f"what they left is in {folder}")
        raise SystemExit(1)
    if options.keep is None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

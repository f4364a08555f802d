"""Others at the same tasks, against the same server, in turn with distilmq."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import busy, kills
from tests.benchmarks.measure import BenchmarkFailedError

PEERS = Path(__file__).parent / "peers"
CASES = ("told", "three tasks", "300 told", "faults")
"""Of `busy.CASES`."""
KILLED_BY_SEEDS = range(3)


def contenders(pythons: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The command of each that can run here.

    Args:
        pythons: the interpreters of the peers that have one.
    """
    commands = {"distilmq": busy.OURS, "asyncio": (sys.executable, str(PEERS / "with_asyncio.py"))}
    scripts = {
        "Curator": "with_curator.py",
        "DataDesigner": "with_data_designer.py",
        "distilabel": "with_distilabel.py",
    }
    for name, script in scripts.items():
        if name in pythons:
            commands[name] = (pythons[name], str(PEERS / script))
    return commands


def contest(pythons: Mapping[str, str], times: int) -> dict[str, dict[str, list[Any]]]:
    """By case and contender what each run took, or how it ended."""
    found: dict[str, dict[str, list[Any]]] = {}
    for case in CASES:
        found[case] = _in_turn(pythons, times, lambda command, _, case=case: busy.run(busy.CASES[case], command))
    found["kill"] = _in_turn(pythons, len(KILLED_BY_SEEDS), lambda command, seed: kills.run(seed, command))
    return found


def _in_turn(
    pythons: Mapping[str, str], times: int, run: Callable[[Sequence[str], int], dict[str, Any]]
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for number in range(times):
        for name, command in contenders(pythons).items():
            try:
                outcome: Any = run(command, number)
            except BenchmarkFailedError as error:
                outcome = "does not end" if error.killed else "ends with an error"
            found.setdefault(name, []).append(outcome)
            print(f"  {name}: {outcome}", flush=True)
    return found

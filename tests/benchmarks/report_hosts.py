"""The part of `docs/benchmarks.md` that is about many hosts: a crowd of workers, and what chaos does to a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

Values = dict[str, Any]

JOINED_WITHIN = 2.0
"""Seconds in which a thousand workers are in, at most."""
BEATS_AT_MOST = 0.05
"""Share of a core that their beats may take of the broker, and of the coordinator."""
SLOW_ALONE = 5.0
"""Seconds that its ten batches take a single worker, of half a second each."""
GROWTH_AT_MOST = 1.1
"""Times what it was in the first third of its life may the memory of a process be in the last."""

CROWD = """
## A thousand workers

{workers:,.0f} simulated workers come at once to a broker and to the coordinator of one run, which are the real
programs; what simulates them takes its part of the same {cores:.0f} cores. Then each beats as often as it was told to.
Each of nine steps wants all workers; and a run of 10 slow batches is beside one of 10,000 fast ones, with 100 workers
for both. Other work on the machine took {load:.1f} times its cores when this was measured: seconds that pass are many
more then than on one that is idle, those of the processor hardly.

| measured | value | target | reached |
|---|---|---|---|
| every worker is known to the broker | {welcomed:.1f} s | | |
| every worker has its step and is ready | **{assigned:.1f} s** | within {within:.0f} s | {joined} |
| processor time of the broker for that | {broker_joining:.2f} s | | |
| processor time of the coordinator for that | {coordinator_joining:.2f} s | | |
| processor time of what simulates the workers | {crowd_joining:.2f} s | | |
| share of a core that beats take of the broker | **{broker_beats:.1%}** | under {most:.0%} | {broker_reached} |
| share of a core that beats take of the coordinator | **{coordinator_beats:.1%}** | under {most:.0%} | {core_reached} |
| what the step with the fewest workers has of an even share | {fewest:.2f} | every step has some | {shared} |
| the slow run (0.5 s a batch), beside the fast one of {fast_run:.1f} s | {slow_run:.1f} s | both go on | {sharing} |
"""

CHAOS = """
## What chaos does

Runs of {rows} rows (a fork, a model, a join, routing, a global step) at a broker with three worker programs, over links
that can be cut. A seed draws whom to kill (`kill -9`) or to freeze, and when: the broker, the coordinator, a worker
program, with or without its processes, a single process; links are cut or break, worker programs are told to leave, and
others come under the same name. `python -m tests.chaos.run --seeds 200 --record` does it again.

| measured | value | target | reached |
|---|---|---|---|
| seeds, from {first} on | {seeds} | 200 | {enough} |
| things done to them | {faults:,} | | |
| batches recorded | {batches:,} | | |
| seeds with a wrong row, a batch recorded twice, or a process or file left | **{wrong}** | 0 | {right} |
| memory of a broker, its last third to its first, at most | {broker:.2f} | {growth:.1f} | {broker_flat} |
| memory of a worker program, its last third to its first, at most | {worker:.2f} | {growth:.1f} | {worker_flat} |

For {asked:,} answers that the runs needed, the model was asked {again:,} times more, because an answer died with its
process.
"""


def sections(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What there is to show."""
    makers: dict[str, Callable[[Values], str]] = {"crowd": _crowd, "chaos": _chaos}
    return [make(results[name]["values"]) for name, make in makers.items() if name in results]


def _crowd(values: Values) -> str:
    runs: list[dict[str, float]] = values["distilmq"]
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return CROWD.format(
        **middle,
        within=JOINED_WITHIN,
        most=BEATS_AT_MOST,
        joined=_yes(middle["assigned"] <= JOINED_WITHIN),
        broker_reached=_yes(middle["broker_beats"] < BEATS_AT_MOST),
        core_reached=_yes(middle["coordinator_beats"] < BEATS_AT_MOST),
        shared=_yes(all(run["fewest"] > 0 for run in runs)),
        sharing=_yes(all(_side_by_side(run) for run in runs)),
    )


def _side_by_side(run: Mapping[str, float]) -> bool:
    """Whether the slow run did not wait for the fast one to end, and the fast one not for it."""
    return run["slow_run"] < max(run["fast_run"], 2 * SLOW_ALONE)


def _chaos(values: Values) -> str:
    needed = values["seeds"] * values["rows"]
    broker, worker = (values["growth"].get(who, 0.0) for who in ("broker", "worker program"))
    return CHAOS.format(
        rows=values["rows"],
        first=values["first"],
        seeds=values["seeds"],
        enough=_yes(values["seeds"] >= 200),
        faults=values["faults"],
        batches=values["batches"],
        wrong=len(values["wrong"]),
        right=_yes(not values["wrong"]),
        broker=broker,
        worker=worker,
        growth=GROWTH_AT_MOST,
        broker_flat=_yes(broker <= GROWTH_AT_MOST),
        worker_flat=_yes(worker <= GROWTH_AT_MOST),
        asked=needed,
        again=values["asked"] - needed,
    )


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"

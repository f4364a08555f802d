"""The part of `docs/benchmarks.md` that is about models: how busy they are kept, what a kill and a request cost."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from tests.benchmarks import busy, client, kills

Values = dict[str, Any]

BUSY = """
## How busy models are kept

A local server with 64 places, the same latencies for all (lognormal, median 1 s, sigma 0.8, at most 10 s), and tasks
with everything at its defaults. The ratio is to a perfect client, which sends rows in order as soon as a place, and the
limit, lets the next one go. It is taken from the server's own log, from the first request to the last answer; for whole
processes it is taken from the start of the script. What is in flight is looked at between the moments when a tenth and
when nine tenths of the requests had begun.

| case | ratio | target | reached | in flight: median, 5th percentile | refused | rows lost | rows failed |
|---|---|---|---|---|---|---|---|
"""

OTHERS = """
## Others at the same tasks

The same server and the same rows for all, in turn; each is told the 64 places and the rate where it can be. The ratio
is to the perfect client. asyncio is a script of one's own around the client of OpenAI ({client}), with a semaphore.

| case | {names} |
|---|{dashes}|
"""

KILL = """
## What a kill costs

All processes of a run over {rows} rows are killed (`kill -9`) at about half way, and the script is run again; the
usual answer takes {median} s here. At {moments} moments together **{answered:,}** requests had been answered when the
processes died. Sent again were **{old}** of those whose answer had left the server half a second or more before, and
**{again}** younger ones, at most {most} at a time, with {in_flight:.0f} in flight. {lost} rows were lost.
The target is none, no more than are in flight, and none. Reached: {reached}.
"""

CLIENT = """
## What a request costs

A server that answers at once is asked {rows:,} times, 64 requests at a time. The bare client (`openai[aiohttp]`)
makes **{bare:,.0f}** requests per second, one worker process of distilmq, which journals each answer,
**{ours:,.0f}**: that is **{share:.0f} %** of it. At least half is the target. Reached: {reached}.
"""


def sections(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What there is to show."""
    makers: dict[str, Callable[[Values], str]] = {
        "models": _busy,
        "others": _others,
        "kill": _kill,
        "client": _client,
    }
    return [make(results[name]["values"]) for name, make in makers.items() if name in results]


def _busy(values: Values) -> str:
    lines = [BUSY.strip("\n")]
    for name, case in busy.CASES.items():
        if not (runs := values.get(name)):
            continue
        ratio = statistics.median(map(case.ratio, runs))
        usual, least, *counts = (
            _shown(runs, key) for key in ("in_flight_median", "in_flight_p5", "refused", "lost", "failed")
        )
        lines.append(
            f"| {case.what} | **{ratio:.2f}** | {case.target} | {_yes(case.reached(runs))} | {usual}, {least} "
            f"| {' | '.join(counts)} |"
        )
    return "\n".join(lines)


def _others(values: Values) -> str:
    versions = values["versions"]
    names = ["distilmq", "asyncio", "Curator", "DataDesigner", "distilabel"]
    titles = [f"{name} {versions[name]}" if name in versions and name != "asyncio" else name for name in names]
    head = OTHERS.format(client=versions["asyncio"], names=" | ".join(titles), dashes="---|" * (len(names) - 1) + "---")
    lines = [head.strip("\n")]
    rows: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
        ("one task, from the first request to the last answer", "told", lambda run: _ratio(run, "span")),
        ("one task, the whole process", "told", lambda run: _ratio(run, "process")),
        ("three tasks and a group, the whole process", "three tasks", lambda run: _ratio(run, "process")),
        ("300 requests a minute, the requests; rows lost", "300 told", _with_lost),
        ("rows without an answer, where three were malformed and one is refused", "faults", _unanswered),
        ("answered requests that are sent again after a kill half way", "kill", _again),
    )
    for what, case, show in rows:
        cells = [_cell(values.get(case, {}).get(name), show) for name in names]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(runs: list[Any] | None, show: Callable[[dict[str, Any]], str]) -> str:
    """The run in the middle, or how the runs ended."""
    if not runs:
        return "not measured"
    whole = [run for run in runs if isinstance(run, dict)]
    if not whole:
        return str(runs[0])
    return show(whole[len(whole) // 2])


def _ratio(run: dict[str, Any], what: str) -> str:
    return f"{run[what] / run['ideal']:.2f}"


def _with_lost(run: dict[str, Any]) -> str:
    return f"{_ratio(run, 'span')}; {run['lost']}"


def _unanswered(run: dict[str, Any]) -> str:
    return str(run["lost"] + run["failed"])


def _again(run: dict[str, Any]) -> str:
    told = f"{run['again']} of {run['answered']}"
    return told if isinstance(run["lost"], int) else f"the next run {run['lost']}"


def _kill(values: Values) -> str:
    runs: list[dict[str, Any]] = values["distilmq"]
    old, again, lost = (sum(run[key] for run in runs) for key in ("again_old", "again", "lost"))
    within = all(run["again"] <= run["in_flight"] for run in runs)
    return KILL.format(
        rows=kills.CASE.rows,
        median=kills.MEDIAN,
        moments=len(runs),
        answered=sum(run["answered"] for run in runs),
        old=old,
        again=again - old,
        most=max(run["again"] for run in runs),
        in_flight=_middle(runs, "in_flight"),
        lost=lost,
        reached=_yes(not old and not lost and within),
    )


def _client(values: Values) -> str:
    ours, bare = statistics.median(values["distilmq"]), statistics.median(values["client"])
    reached = _yes(ours >= bare / 2)
    return CLIENT.format(rows=client.CASE.rows, bare=bare, ours=ours, share=100 * ours / bare, reached=reached)


def _shown(runs: list[dict[str, Any]], key: str) -> str:
    return f"{_middle(runs, key):.0f}" if all(key in run for run in runs) else "-"


def _middle(runs: list[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"

"""Writes `docs/benchmarks.md` out of the recorded results: no figure stands there that is not one of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import report_hosts, report_models
from tests.benchmarks.cases import CASES

RESULTS = Path(__file__).parent / "results"

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what is measured, the target, and whether a value reaches it."""

    name: str
    what: str
    target: str
    unit: str
    reached: Callable[[Values], bool]


ROWS = (
    Row(
        "throughput",
        "step-results per second of a generator and two steps that do nothing, batches of 50 rows of 1 KB, "
        "as the slope between 10,000 and 50,000 rows",
        "40 x distilabel",
        "/s",
        lambda values: "distilabel" in values and median(values, "distilmq") >= 40 * median(values, "distilabel"),
    ),
    Row(
        "chain",
        "50,000 rows of 200 B through two steps, `run()` to Distiset",
        "under 4 s",
        "s",
        lambda values: median(values, "distilmq") < 4,
    ),
    Row(
        "diamond",
        "the guide's diamond without models, 10,000 rows",
        "under 2.5 s",
        "s",
        lambda values: median(values, "distilmq") < 2.5,
    ),
    Row(
        "one_row",
        "a pipeline of one row, `run()` to Distiset",
        "under 1.5 s",
        "s",
        lambda values: median(values, "distilmq") < 1.5,
    ),
    Row(
        "import",
        "`import distilmq.pipeline` in a fresh interpreter",
        "under 0.3 s",
        "s",
        lambda values: median(values, "distilmq") < 0.3,
    ),
)

GROWTH_LIMIT = 1.2
KEYS_LEAST = 0.45
"""What is left of the throughput at a broker when everything is encrypted, at least."""

HEAD = """# Benchmarks

This page is written by `make docs` from the results that `make benchmarks` records in `tests/benchmarks/results/`;
nothing on it is typed in by hand. Each figure is the median of its runs, which took turns with those of the others on
the same machine. `datasets` is imported before the clock starts, for all alike; distilmq keeps its journal in every
run.
"""

FLOOR = """
## How far from the ceiling

`tests/benchmarks/floor.py` is a coordinator stripped to the bone: the same sockets, the same encoding of rows, the
same kind of journal, and nothing else. It reaches **{floor}** step-results per second where distilmq reaches
**{ours}**, that is **{share} %** of it. What the rest is spent on, and what the bare one does not do: each message is
a validated header (pydantic) with a lease and an attempt number; each batch has its place in the order of rows, a state
and a worker in the ledger, and a checksum; the coordinator keeps watermarks, credits, heartbeats and a progress view;
rows are checked and encoded type by type, so that they come out as they went in; and all rows are fetched by the script
and written to a dataset, which the bare one leaves out.
"""

KEYS = """
## What keys cost

A generator and two steps that do nothing at a broker on the same machine, batches of 50 rows of 1 KB, as the slope
between 10,000 and 60,000 rows: over TCP with keys, every message encrypted on its way to the broker and from it, and
over a local socket without.

| step-results per second with keys | without | ratio | target | reached |
|---|---|---|---|---|
| **{curve}/s** | {plain}/s | {ratio} | at least {least} | {reached} |
"""


LARGE_MOST = 300
"""Megabytes that client, broker and coordinator may have each, however large the result is."""

FETCHED = {"distiset": "`run.distiset()`", "fetch": "`distilmq runs fetch`"}
GIVEN = {"list": "a list", "dataset": "a `Dataset` of files"}

LARGE = """
## What large results cost

Rows of 50 KB at a broker over TCP with keys, fetched by a client on the same machine when the run is over. What counts
is memory of a process's own: pages of files that are mapped are given back when something else needs room.

| result | batches of | fetched with | client | broker | coordinator | each under {most} MB |
|---|---|---|---|---|---|---|
{lines}

Rows that a client submits, itself, go in files to the broker's disk; a list of them is in the client's memory before.

| rows | given as | who submits | who fetches | broker | coordinator |
|---|---|---|---|---|---|
{given}
"""


def load_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The recorded results by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def median(values: Values, name: str) -> float:
    """The middle of the runs of one contender."""
    return statistics.median(values[name])


def render(results: dict[str, dict[str, Any]]) -> str:
    """The page."""
    parts = [HEAD, _table(results)]
    if throughput := results.get("throughput", {}).get("values"):
        ours, floor = median(throughput, "distilmq"), median(throughput, "floor")
        parts.append(FLOOR.format(floor=f"{floor:,.0f}", ours=f"{ours:,.0f}", share=f"{100 * ours / floor:.0f}"))
    if growth := results.get("growth"):
        parts.append(_growth(growth["values"]))
    if behaviour := results.get("behaviour"):
        parts.append(_behaviour(behaviour["values"]))
    parts += report_models.sections(results)
    if keys := results.get("keys"):
        parts.append(_keys(keys["values"]))
    parts += report_hosts.sections(results)
    if large := results.get("large"):
        parts.append(_large(large["values"]))
    parts.append(_machines(results))
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def comparison(results: dict[str, dict[str, Any]]) -> str:
    """The table of the README: what was measured and tried of both, in short."""
    lines = ["| | distilmq | distilabel 1.5.3 |", "|---|---|---|"]
    for row in ROWS:
        values = results.get(row.name, {}).get("values", {})
        if "distilmq" in values and "distilabel" in values:
            cells = [_show(median(values, library), row.unit) for library in ("distilmq", "distilabel")]
            lines.append(f"| {row.what} | {' | '.join(cells)} |")
    if behaviour := results.get("behaviour"):
        lines += _behaviour_lines(behaviour["values"])
    return "\n".join(lines)


def _table(results: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| measured | distilmq | distilabel 1.5.3 | ratio | others | target | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row, results[row.name]["values"]) for row in ROWS if row.name in results]
    return "\n".join(lines)


def _line(row: Row, values: Values) -> str:
    ours = median(values, "distilmq")
    peer = median(values, "distilabel") if "distilabel" in values else None
    ratio = "" if peer is None else f"{ours / peer if row.unit == '/s' else peer / ours:.1f} x"
    others = []
    if "dataset_map" in values:
        others.append(f"`datasets.map` {_show(median(values, 'dataset_map'), row.unit)}")
    if "floor" in values:
        others.append(f"bare prototype {_show(median(values, 'floor'), row.unit)}")
    return (
        f"| {row.what} | **{_show(ours, row.unit)}** | {'not measured' if peer is None else _show(peer, row.unit)} "
        f"| {ratio} | {', '.join(others)} | {row.target} | {'yes' if row.reached(values) else 'no'} |"
    )


def _show(value: float, unit: str) -> str:
    return f"{value:,.0f}/s" if unit == "/s" else f"{value:.2f} {unit}"


def _growth(values: Values) -> str:
    def cpu(few: str, many: str) -> float:
        return 1e6 * (values[many]["cpu_seconds"] - values[few]["cpu_seconds"]) / (int(many) - int(few))

    early, late = cpu("10000", "100000"), cpu("100000", "300000")
    lines = [
        "## What more rows cost",
        "",
        "Rows of 200 B through two steps, all processes together. Within 20 % is the target for each line.",
        "",
        "| | before | after | ratio | within 20 % |",
        "|---|---|---|---|---|",
        f"| processor time per further row, 10 k to 100 k and 100 k to 300 k rows | {early:.0f} µs | {late:.0f} µs "
        f"| {late / early:.2f} | {_within(late / early)} |",
    ]
    for part, few in values["30000"]["peak_mb"].items():
        many = values["300000"]["peak_mb"].get(part)
        if many is not None and part in ("client", "coordinator", "worker"):
            lines.append(
                f"| peak memory of the {part}, 30 k and 300 k rows | {few:.0f} MB | {many:.0f} MB "
                f"| {many / few:.2f} | {_within(many / few)} |"
            )
    return "\n".join(lines)


def _keys(values: Values) -> str:
    curve, plain = median(values, "curve"), median(values, "plain")
    return KEYS.format(
        curve=f"{curve:,.0f}",
        plain=f"{plain:,.0f}",
        ratio=f"{curve / plain:.2f}",
        least=f"{KEYS_LEAST:.2f}",
        reached="yes" if curve >= KEYS_LEAST * plain else "no",
    )


def _large(values: Values) -> str:
    lines: list[str] = []
    given: list[str] = []
    for found in values["peaks"]:
        size, how = f"{found['megabytes']:,} MB", found["how"]
        peaks = [found[part] for part in ("client", "broker", "coordinator")]
        cells = " | ".join(f"{peak:.0f} MB" for peak in peaks)
        if how in GIVEN:
            given.append(f"| {size} | {GIVEN[how]} | {found['submitter']:.0f} MB | {cells} |")
            continue
        within = "yes" if max(peaks) < LARGE_MOST else "no"
        lines.append(f"| {size} | {found['batch']:g} MB | {FETCHED[how]} | {cells} | {within} |")
    return LARGE.format(most=LARGE_MOST, lines="\n".join(lines), given="\n".join(given))


def _within(ratio: float) -> str:
    return "yes" if ratio <= GROWTH_LIMIT else "no"


def _behaviour(values: Values) -> str:
    lines = [
        "## What comes out in awkward cases",
        "",
        "The same script of four rows, a generator and two steps, run by both (`tests/benchmarks/behaviour.py`).",
        "",
        "| case | distilmq | distilabel 1.5.3 |",
        "|---|---|---|",
        *_behaviour_lines(values),
    ]
    return "\n".join(lines)


def _behaviour_lines(values: Values) -> list[str]:
    lines: list[str] = []
    for case, (what, right) in CASES.items():
        outcomes = values[case]
        cells = [outcome_in_words(outcomes.get(library), right) for library in ("distilmq", "distilabel")]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return lines


def outcome_in_words(outcome: Any, right: list[list[int | None]]) -> str:
    """How a reader would say what came out."""
    if outcome is None:
        return "not measured"
    if isinstance(outcome, str):
        return f"{outcome} (killed after a minute)" if outcome == "does not end" else outcome
    if outcome == right:
        return "the right rows"
    if not outcome:
        return "an empty result"
    return (
        "wrong rows: y = " + ", ".join(str(y) for _, y in outcome) + "; right: " + ", ".join(str(y) for _, y in right)
    )


def _machines(results: dict[str, dict[str, Any]]) -> str:
    lines = ["## Where it was measured", "", "| result | date | commit | processor | Python | pyzmq | datasets |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, record in results.items():
        where = record["machine"]
        fields = (where["date"], where["commit"], where["cpu"], where["python"], where["pyzmq"], where["datasets"])
        lines.append(f"| {name} | " + " | ".join(fields) + " |")
    lines += ["", "`make benchmarks` measures all of it again, with each of the others in an environment of its own."]
    return "\n".join(lines)

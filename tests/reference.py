"""Runs a pipeline sequentially in plain Python: what must come out, row by row, whatever the timing."""

from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from typing import Any

from distilmq.protocol.plan import Plan, StepSpec
from tests.pairing import Inputs, Pairing, Row
from tests.paths import Paths


class Reference:
    """Rows of each step, given what steps do and which successors batches are routed to."""

    def __init__(self, plan: Plan, process: Callable[..., list[Any]], choose: Callable[..., Sequence[str]]) -> None:
        """`process(step, {predecessor: values})` gives values, of a generator batches of them."""
        self._process, self._paths = process, Paths(plan)
        self._done: dict[str, list[list[Row]]] = {}
        self._sent: dict[str, list[Sequence[str]]] = {}
        self._pairing = Pairing(self._paths, self._done, self._sent)
        for spec in plan.steps:
            name, after, done = spec.name, plan.successors(spec.name), self._run(plan, spec)
            firsts = accumulate((len(rows) for rows in done), initial=0)
            self._done[name] = [
                [Row(r.value, {**r.origin, name: (i, i + 1)}, {**r.batch, name: n}) for i, r in enumerate(rows, first)]
                for n, (rows, first) in enumerate(zip(done, firsts, strict=False))
            ]
            routed = [name in self._paths.routed and bool(rows) for rows in done]
            values = [[row.value for row in rows] for rows in done]
            self._sent[name] = [choose(name, v, after) if r else after for v, r in zip(values, routed, strict=True)]
        self.values = {name: [row.value for rows in done for row in rows] for name, done in self._done.items()}

    def _run(self, plan: Plan, spec: StepSpec) -> list[list[Row]]:
        if spec.kind == "generator":
            return [[Row(value, {}, {}) for value in values] for values in self._process(spec.name, {})]
        runs = {
            p: [b for b, to in zip(self._done[p], self._sent[p], strict=True) if spec.name in to]
            for p in spec.predecessors
        }
        flat = {p: [row for rows in each for row in rows] for p, each in runs.items()}
        longest = max(len(rows) for rows in flat.values())
        size = max(1, longest) if spec.kind == "global" else spec.size
        if spec.name in self._paths.forks:
            batches = self._pairing.batches(spec, flat, self._paths.forks[spec.name])
            return [self._call(spec, inputs) for inputs in batches]
        if len(flat) > 1 or spec.kind == "global":
            return [
                self._call(spec, {p: rows[at : at + size] for p, rows in flat.items()})
                for at in range(0, longest, size)
            ]
        [above], walls = flat, self._paths.walls(spec.name)
        if plan.step(above).kind == "global" or plan.step(above).size % spec.size:
            runs[above] = [
                list(run) for _, run in groupby(flat[above], lambda row: [row.batch[wall] for wall in walls])
            ]
        cuts = [rows[at : at + spec.size] for rows in runs[above] for at in range(0, len(rows), spec.size)]
        return [self._call(spec, {above: rows}) for rows in cuts]

    def _call(self, spec: StepSpec, inputs: Inputs) -> list[Row]:
        values = self._process(spec.name, {p: [row.value for row in rows] for p, rows in inputs.items()})
        rows = [row for each in inputs.values() for row in each]
        origin = {s: [row.origin[s] for row in rows] for s in rows[0].origin if all(s in row.origin for row in rows)}
        if all(len(each) == len(values) for each in inputs.values()) and (spec.kind != "global" or len(inputs) == 1):
            return [Row(v, {s: origin[s][i] for s in origin}, rows[0].batch) for i, v in enumerate(values)]
        hull = {s: (min(low for low, _ in each), max(high for _, high in each)) for s, each in origin.items()}
        return [Row(value, hull, rows[0].batch) for value in values]

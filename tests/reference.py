"""Runs a pipeline sequentially in plain Python: what must come out, row by row, whatever the timing."""

from collections.abc import Callable, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

from distilmq.protocol.plan import Plan, StepSpec
from tests.paths import Paths


class Row(NamedTuple):
    """A value, the stretch of each earlier step's output it came from, and the batch in which its own begins."""

    value: Any
    origin: dict[str, tuple[int, int]]
    batch: dict[str, int]


Inputs = dict[str, list[Row]]


class Reference:
    """Rows of each step, given what steps do and which successors batches are routed to."""

    def __init__(self, plan: Plan, process: Callable[..., list[Any]], choose: Callable[..., Sequence[str]]) -> None:
        """`process(step, {predecessor: values})` gives values, of a generator batches of them."""
        self._process, self._paths = process, Paths(plan)
        self._done: dict[str, list[list[Row]]] = {}
        self._sent: dict[str, list[Sequence[str]]] = {}
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
        ends = range(
            0,
            max(map(len, flat.values())),
            max(1, sum(map(len, flat.values()))) if spec.kind == "global" else spec.size,
        )
        if spec.name in self._paths.forks:
            return [self._call(spec, inputs) for inputs in self._aligned(spec, flat, self._paths.forks[spec.name])]
        if len(flat) > 1 or spec.kind == "global":
            return [self._call(spec, {p: rows[at : at + ends.step] for p, rows in flat.items()}) for at in ends]
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

    def _aligned(self, join: StepSpec, flat: Inputs, fork: str) -> list[Inputs]:
        ruler, walls = [row for rows in self._done[fork] for row in rows], self._paths.walls(join.name)
        inner = {
            place
            for rows in flat.values()
            for row in rows
            for place in range(row.origin[fork][0] + 1, row.origin[fork][1])
        }
        taken, last = list[Inputs](), None
        for low, high in pairwise(place for place in range(len(ruler) + 1) if place not in inner):
            span = {p: [row for row in rows if low <= row.origin[fork][0] < high] for p, rows in flat.items()}
            here = {p: rows for p, rows in span.items() if rows or not self._absent(p, join.name, fork, low, high)}
            if any(span.values()):
                key = (list(here), [ruler[low].batch[wall] for wall in walls])
                have = taken[-1] if key == last else {}
                longer = [len(rows) + len(here[p]) for p, rows in have.items()]
                if not have or max(longer) > join.size or max(map(len, have.values())) >= join.size:
                    taken.append({p: [] for p in here})
                taken[-1], last = {p: taken[-1][p] + rows for p, rows in here.items()}, key
        return taken

    def _absent(self, end: str, join: str, fork: str, low: int, high: int) -> bool:
        """Whether all of a stretch was routed past a branch."""
        past: set[int] = set()
        for step in (s for s in self._paths.routed if self._paths.passes(s, end) and self._paths.passes(fork, s)):
            for rows, chosen in zip(self._done[step], self._sent[step], strict=True):
                if not any(step == end if to == join else self._paths.leads(to, end) for to in chosen):
                    past |= {place for row in rows for place in range(*row.origin[fork])}
        return past.issuperset(range(low, high))

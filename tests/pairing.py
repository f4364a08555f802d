"""Which rows a join takes together, for the reference: by the rows of the fork that they came from."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from distilmq.protocol.plan import StepSpec
from tests.paths import Paths


class Row(NamedTuple):
    """A value, the stretch of each earlier step's output it came from, and the batch in which its own begins."""

    value: Any
    origin: dict[str, tuple[int, int]]
    batch: dict[str, int]


Inputs = dict[str, list[Row]]


class Pairing:
    """The joins of one run; `done` are all batches of the steps so far, `sent` where each of them was routed to."""

    def __init__(self, paths: Paths, done: dict[str, list[list[Row]]], sent: dict[str, list[Sequence[str]]]) -> None:
        self._paths, self._done, self._sent = paths, done, sent

    def batches(self, join: StepSpec, flat: Inputs, fork: str) -> list[Inputs]:
        """The inputs of the join's batches, from all rows of its predecessors."""
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

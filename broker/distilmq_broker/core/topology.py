"""What follows from the plan alone: who feeds whom, where branches part and meet again, how each step's input fills.

The *fork* of a join is the nearest step that every path to each of its predecessors passes (their nearest common
dominator). Rows between a fork and its join carry labels that say which rows of the fork they came from. A *wall*
is a routed step on the way: no batch is cut across its batches, because each of them may go to other branches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distilmq.protocol.plan import Plan, StepSpec

Manner = Literal["source", "batchwise", "stream", "everything", "aligned", "positional"]
"""How a step's input is filled; a generator has none."""


@dataclass(frozen=True, slots=True)
class Place:
    """One step's place in the plan; other steps are named by their index in topological order."""

    index: int
    spec: StepSpec
    predecessors: tuple[int, ...]
    successors: tuple[int, ...]
    manner: Manner
    depth: int
    """How many parts its batch numbers have at most."""
    fork: int | None
    """Of an aligned join: where its branches part."""
    labels: tuple[int, ...]
    """Forks above this step whose join lies below it: its rows say where in their output they came from."""
    wall: int | None
    """Depth of the nearest routed step across whose batches this one must not cut."""
    routed: bool
    component: int
    stage: int
    ordered_after: tuple[int, ...]
    """Steps below that wait for the order of rows: a batch recorded here may let them go on."""
    rulers: tuple[int, ...]
    """Aligned joins whose fork this is."""

    @property
    def name(self) -> str:
        """The step's name."""
        return self.spec.name

    @property
    def replicas(self) -> int:
        """How many processes take its batches: a generator and a global step have one."""
        return max(1, self.spec.resources.replicas) if self.spec.kind == "normal" else 1


class Topology:
    """All places of a plan, in topological order."""

    def __init__(self, plan: Plan) -> None:
        self.index = {spec.name: place for place, spec in enumerate(plan.steps)}
        """Step name to its place in `places`."""
        self._plan = plan
        self._routed = {route.step for route in plan.routes}
        self._before: list[tuple[int, ...]] = [
            tuple(self.index[name] for name in spec.predecessors) for spec in plan.steps
        ]
        self._after: list[tuple[int, ...]] = [
            tuple(after for after, before in enumerate(self._before) if place in before)
            for place in range(len(self._before))
        ]
        self._above = self._closure(self._before, range(len(self._before)))
        self._below = self._closure(self._after, range(len(self._after) - 1, -1, -1))
        self._dominators = self._find_dominators()
        self._forks = [self._find_fork(place) for place in range(len(self._before))]
        self.stages = plan.stages or (tuple(spec.name for spec in plan.steps),)
        self.places = self._build()
        """One per step."""
        self.components = 1 + max((place.component for place in self.places), default=-1)

    def dominates(self, one: int, other: int) -> bool:
        """Whether every path to `other` passes `one`."""
        return bool(self._dominators[other] >> one & 1)

    def leads_to(self, one: int, other: int) -> bool:
        """Whether rows of `one` may reach `other`; a step leads to itself."""
        return one == other or bool(self._below[one] >> other & 1)

    def inside(self, step: int, join: int) -> bool:
        """Whether a step lies between a join and its fork, both excluded."""
        fork = self._forks[join]
        return fork is not None and bool(self._below[fork] >> step & 1) and bool(self._above[join] >> step & 1)

    def _closure(self, edges: list[tuple[int, ...]], order: range) -> list[int]:
        masks = [0] * len(edges)
        for place in order:
            for other in edges[place]:
                masks[place] |= masks[other] | 1 << other
        return masks

    def _find_dominators(self) -> list[int]:
        masks: list[int] = []
        for place, before in enumerate(self._before):
            common = -1 if before else 0
            for other in before:
                common &= masks[other]
            masks.append(common | 1 << place)
        return masks

    def _find_fork(self, place: int) -> int | None:
        before = self._before[place]
        if len(before) < 2 or self._plan.steps[place].kind == "global":
            return None
        common = -1
        for other in before:
            common &= self._dominators[other]
        # The common dominators lie on one chain, so the last in topological order is the nearest.
        return common.bit_length() - 1 if common else None

    def _manner(self, place: int) -> Manner:
        spec = self._plan.steps[place]
        before = self._before[place]
        if spec.kind == "generator" or not before:
            return "source"
        if spec.kind == "global":
            return "everything"
        if len(before) > 1:
            return "positional" if self._forks[place] is None else "aligned"
        upstream = self._plan.step(spec.predecessors[0])
        divides = upstream.kind != "global" and upstream.size % max(1, spec.size) == 0
        return "batchwise" if divides else "stream"

    def _depths(self, manners: list[Manner]) -> list[int]:
        depths: list[int] = []
        for place, before in enumerate(self._before):
            fork = self._forks[place]
            if manners[place] in ("source", "positional"):
                depths.append(1)
            elif fork is not None:
                depths.append(depths[fork] + 1)
            else:
                depths.append(1 + max(depths[other] for other in before))
        return depths

    def _labels(self, place: int) -> tuple[int, ...]:
        needed = [self._forks[join] for join in range(len(self._before)) if self.inside(place, join)]
        return tuple(sorted({fork for fork in needed if fork is not None}))

    def _wall(self, place: int, depths: list[int]) -> int | None:
        joins = [join for join in range(len(self._before)) if join == place or self.inside(place, join)]
        walls = [
            depths[step]
            for step in range(place)
            if self._plan.steps[step].name in self._routed
            and self.dominates(step, place)
            and any(self._forks[join] == step or self.inside(step, join) for join in joins)
        ]
        return max(walls, default=None)

    def _components(self) -> list[int]:
        found = [-1] * len(self._before)
        count = 0
        for start in range(len(found)):
            if found[start] >= 0:
                continue
            reached = [start]
            while reached:
                place = reached.pop()
                if found[place] < 0:
                    found[place] = count
                    reached += (*self._before[place], *self._after[place])
            count += 1
        return found

    def _build(self) -> tuple[Place, ...]:
        steps = range(len(self._before))
        manners: list[Manner] = [self._manner(place) for place in steps]
        depths = self._depths(manners)
        components = self._components()
        stages = {name: stage for stage, names in enumerate(self.stages) for name in names}
        ordered = [place for place in steps if manners[place] not in ("source", "batchwise")]
        return tuple(
            Place(
                index=place,
                spec=self._plan.steps[place],
                predecessors=self._before[place],
                successors=self._after[place],
                manner=manners[place],
                depth=depths[place],
                fork=self._forks[place],
                labels=self._labels(place),
                wall=self._wall(place, depths),
                routed=self._plan.steps[place].name in self._routed and bool(self._after[place]),
                component=components[place],
                stage=stages.get(self._plan.steps[place].name, 0),
                ordered_after=tuple(other for other in ordered if self._below[place] >> other & 1),
                rulers=tuple(join for join in steps if self._forks[join] == place),
            )
            for place in steps
        )

"""Draws pipelines: DAGs of up to eight steps, with everything that a plan can hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from distilmq.protocol.plan import Plan, ResourceSpec, RouteSpec, RunSettings, StepSpec
from tests.broker.core.behaviour import Behaviour

SIZES = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 10, 12, 16, 20, 25, 32, 50, 64])


@st.composite
def pipelines(draw: st.DrawFn, *, most_steps: int = 8, most_rows: int = 120) -> tuple[Plan, Behaviour]:
    """A plan, and what its steps do."""
    count = draw(st.integers(1, most_steps))
    steps: list[StepSpec] = []
    manners: dict[str, Any] = {}
    for place in range(count):
        spec = draw(_steps(place, steps))
        steps.append(spec)
        if spec.kind == "global":
            manners[spec.name] = draw(st.sampled_from(["map", "map", "summary", "expand", "nothing"]))
        elif spec.kind == "normal":
            manners[spec.name] = draw(st.sampled_from(["map", "map", "map", "filter", "expand"]))
    after = {spec.name: [s.name for s in steps if spec.name in s.predecessors] for spec in steps}
    routes = [spec.name for spec in steps if len(after[spec.name]) > 1 and draw(st.booleans())]
    generators = [spec for spec in steps if spec.kind == "generator"]
    plan = Plan(
        pipeline="drawn",
        steps=tuple(steps),
        routes=tuple(RouteSpec(step=name) for name in routes),
        stages=draw(_stages(steps)),
        settings=RunSettings(waiting_rows=draw(st.sampled_from([1, 1, 30, 10_000]))),
    )
    behaviour = Behaviour(
        manners=manners,
        rows={spec.name: draw(st.integers(0, most_rows)) for spec in generators},
        sizes={spec.name: spec.size for spec in generators},
        failing=draw(st.sampled_from([0, 0, 5])),
        choices=draw(st.sampled_from(["any", "any", "one", "all", "none"])),
    )
    return plan, behaviour


@st.composite
def _steps(draw: st.DrawFn, place: int, before: list[StepSpec]) -> StepSpec:
    name, size = f"s{place}", draw(SIZES)
    replicas = ResourceSpec(replicas=draw(st.sampled_from([1, 1, 2, 3])))
    kinds = ["generator"] if not before else ["normal"] * 8 + ["global", "generator"]
    kind: Any = draw(st.sampled_from(kinds))
    if kind == "generator":
        # Small batches of many rows would be many events for little to see.
        return StepSpec(name=name, kind=kind, size=max(size, 4), resources=replicas)
    names = [spec.name for spec in before]
    most = min(len(names), 3)
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=most, unique=True))
    return StepSpec(
        name=name, kind=kind, size=size, predecessors=tuple(chosen), multiple_inputs=len(chosen) > 1, resources=replicas
    )


@st.composite
def _stages(draw: st.DrawFn, steps: list[StepSpec]) -> tuple[tuple[str, ...], ...]:
    """Load groups along the topological order; a global step is a stage of its own."""
    stages: list[list[str]] = [[]]
    alone = False
    for spec in steps:
        cut = alone or spec.kind == "global" or draw(st.sampled_from([False, False, False, True]))
        if cut and stages[-1]:
            stages.append([])
        stages[-1].append(spec.name)
        alone = spec.kind == "global"
    return tuple(tuple(stage) for stage in stages)

"""Drawn plans as pipelines of real steps: the same DAGs that the core is tested with, for whole runs."""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from distilmq.distiset import Distiset
from distilmq.pipeline import Pipeline
from distilmq.pipeline.compile import Compiled, compile_plan
from distilmq.pipeline.interrupt import Interrupts
from distilmq.pipeline.prepare import RunOptions, prepare
from distilmq.pipeline.run import LocalRun, Place, Reading, read_distiset
from distilmq.protocol.packing import unpack
from distilmq.protocol.plan import Plan, StepSpec
from distilmq.steps import GeneratorStep, GlobalStep, Step, StepInput, StepResources
from tests.broker.core.behaviour import Behaviour

Rows = list[dict[str, Any]]


class Source(GeneratorStep):
    """Gives so many rows; one in two says "last" with its last rows, the other only when nothing is left."""

    count: int

    @property
    def outputs(self) -> list[str]:
        return ["value"]

    def process(self, offset: int = 0) -> Iterator[tuple[Rows, bool]]:
        for at in range(offset, self.count, self.batch_size):
            end = min(at + self.batch_size, self.count)
            last = end == self.count and self.count % 2 == 0
            yield [{"value": f"{self.name}:{row}"} for row in range(at, end)], last


class _Drawn(Step):
    manner: str
    failing: int

    @property
    def inputs(self) -> list[str]:
        return ["value"]

    @property
    def outputs(self) -> list[str]:
        return ["value"]

    def _values(self, inputs: Sequence[Rows]) -> list[str]:
        behaviour = Behaviour(manners={self.name: self.manner}, failing=self.failing)  # type: ignore[dict-item]  # a field is a plain str
        return unnamed(behaviour, self.name, [[value_of(row) for row in rows] for rows in inputs])


class Normal(_Drawn):
    """Maps, filters or expands; raises for some rows."""

    def process(self, *inputs: StepInput) -> Iterator[Rows]:
        values = self._values(inputs)
        if failed := [value for value in values if ":failed:" in value and value.startswith(f"{self.name}:")]:
            raise ValueError(failed[0])
        yield [{"value": value} for value in values]


class Whole(_Drawn, GlobalStep):
    """Takes all rows at once; a row that makes others raise is only marked, as that would end the run."""

    def process(self, *inputs: StepInput) -> Iterator[Rows]:
        yield [{"value": value} for value in self._values(inputs)]


def unnamed(behaviour: Behaviour, step: str, inputs: Sequence[Sequence[str]]) -> list[str]:
    """What a step gives for lists without names: a real step is not told from whom each of them is."""
    given: Any = behaviour.process(step, {str(place): values for place, values in enumerate(inputs)})
    return given


def value_of(row: Mapping[str, Any]) -> str:
    """A row's value; of one that failed, what its step called it."""
    if row["value"] is not None:
        return str(row["value"])
    *_, last = [text for text in row["distilmq_metadata"].values() if text is not None]
    return str(last).removeprefix("ValueError: ")


def chooser(choices: str, seed: int) -> Callable[[list[str]], list[str]]:
    """A routing function that nobody can foresee."""
    random = Random(seed)

    def choose(steps: list[str]) -> list[str]:
        if choices in ("all", "none"):
            return steps if choices == "all" else []
        return random.sample(steps, 1 if choices == "one" else random.randint(0, len(steps)))

    return choose


def runnable(plan: Plan, behaviour: Behaviour) -> tuple[Plan, Behaviour]:
    """The plan as a pipeline takes it: a step stands between a routed step and a join, or a global step, of many."""
    routed = [route.step for route in plan.routes]
    steps: list[StepSpec] = []
    stages: list[list[str]] = []
    manners = dict(behaviour.manners)
    for stage in plan.stages:
        stages.append([])
        for spec in map(plan.step, stage):
            between = [name for name in spec.predecessors if name in routed and len(spec.predecessors) > 1]
            for name in between:
                steps.append(_between(name, spec))
                manners[steps[-1].name] = "map"
                if spec.kind == "global":
                    stages.insert(-1, [steps[-1].name])
                else:
                    stages[-1].append(steps[-1].name)
            before = tuple(f"{name}-{spec.name}" if name in between else name for name in spec.predecessors)
            steps.append(spec.model_copy(update={"predecessors": before}))
            stages[-1].append(spec.name)
    changed = plan.model_copy(update={"steps": tuple(steps), "stages": tuple(map(tuple, stages))})
    routes = tuple(route for route in plan.routes if route.step not in _meeting(changed, routed))
    return changed.model_copy(update={"routes": routes}), replace(behaviour, manners=manners)


def _between(before: str, after: StepSpec) -> StepSpec:
    return StepSpec(name=f"{before}-{after.name}", kind="normal", size=after.size, predecessors=(before,))


def _meeting(plan: Plan, routed: Sequence[str]) -> set[str]:
    """Routed steps whose branches all meet those of another one directly, which a pipeline refuses."""
    source = {after: name for name in routed for after in plan.successors(name)}
    meetings = [spec.predecessors for spec in plan.steps if len(spec.predecessors) > 1]
    sources = [{source[one] for one in before} for before in meetings if all(one in source for one in before)]
    return {name for each in sources if len(each) > 1 for name in each}


def as_pipeline(plan: Plan, behaviour: Behaviour) -> Pipeline:
    """The drawn plan as a user writes it."""
    with Pipeline("drawn") as pipeline:
        steps: dict[str, Any] = {}
        for spec in plan.steps:
            resources = StepResources(replicas=min(spec.resources.replicas, 2) if spec.kind == "normal" else 1)
            if spec.kind == "generator":
                steps[spec.name] = Source(name=spec.name, batch_size=spec.size, count=behaviour.rows[spec.name])
                continue
            make = Normal if spec.kind == "normal" else Whole
            steps[spec.name] = make(
                name=spec.name,
                input_batch_size=spec.size,
                manner=behaviour.manners[spec.name],
                failing=behaviour.failing,
                resources=resources,
            )
        routed = [route.step for route in plan.routes]
        for spec in plan.steps:
            for before in spec.predecessors:
                if before not in routed:
                    steps[before].connect(steps[spec.name])
        for seed, name in enumerate(routed):
            successors = [steps[after] for after in plan.successors(name)]
            steps[name].connect(*successors, routing_batch_function=chooser(behaviour.choices, seed))
    return pipeline


def run(plan: Plan, pipeline: Pipeline, directory: Path) -> tuple[Plan, Distiset]:
    """Runs it over real processes, with the drawn bound of waiting rows, which is no argument of `Pipeline.run`."""
    groups: Any = [list(stage) for stage in plan.stages] if len(plan.stages) > 1 else None
    with Interrupts() as interrupts:
        prepared = prepare(pipeline.dag, RunOptions(load_groups=groups))
        compiled: Compiled = compile_plan(
            prepared.dag,
            name="drawn",
            description="",
            signatures=prepared.signatures,
            stages=prepared.stages,
            settings=plan.settings,
        )
        place = Place(directory / "drawn" / "run", directory)
        place.directory.mkdir(parents=True)
        reading = Reading(leaves=compiled.plan.leaves, columns=prepared.columns)
        read = partial(read_distiset, reading=reading, place=place)
        return compiled.plan, LocalRun(compiled, place, read).execute(interrupts)


class Ledger:
    """What a finished run has recorded."""

    def __init__(self, directory: Path) -> None:
        (path,) = directory.rglob("ledger.db")
        connection = sqlite3.connect(f"file:{os.fspath(path)}?mode=ro", uri=True)
        try:
            self.rows = dict(connection.execute("SELECT step, rows FROM cursor"))
            found = connection.execute("SELECT step, routes FROM batch WHERE part = 0 AND rows > 0 ORDER BY seq_no")
            self.routes: defaultdict[str, list[list[str]]] = defaultdict(list)
            for step, routes in found:
                if routes is not None:
                    self.routes[step].append(unpack(routes))
        finally:
            connection.close()

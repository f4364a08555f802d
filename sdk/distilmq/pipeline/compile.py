"""A pipeline to a plan: what the coordinator needs of each step, its code by pickle, its secrets apart."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from distilmq.mixins.secrets import secret_values, secret_variables
from distilmq.pipeline.dag import Dag, route_name
from distilmq.pipeline.data_files import described
from distilmq.pipeline.offline_batches import NEVER, asks_in_batch_jobs
from distilmq.pipeline.pickling import pickled_function, pickled_step
from distilmq.pipeline.signatures import StepSignature, route_signature
from distilmq.pipeline.validation import batch_size
from distilmq.protocol.plan import DataFile, DatasetSpec, Plan, ResourceSpec, RouteSpec, RunSettings, StepSpec
from distilmq.steps.base import GeneratorStep, _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it

_MODEL_FIELDS = ("llm", "embeddings", "image_generation_model")

_log = logging.getLogger("distilmq.pipeline")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan, and what does not belong into it."""

    plan: Plan
    secrets: dict[str, dict[str, str]] = field(repr=False)
    """Step to dotted field to value."""
    files: dict[str, Path] = field(default_factory=dict[str, Path])
    """By digest, where the data files of a plan that travels are."""


def compile_plan(
    dag: Dag,
    *,
    name: str,
    description: str,
    signatures: Mapping[str, StepSignature],
    stages: Sequence[Sequence[str]],
    settings: RunSettings,
    inputs: Path | None = None,
    max_batches: int | None = None,
    travels: DatasetSpec | None = None,
) -> Compiled:
    """Compiles a pipeline that was validated.

    Args:
        dag: the steps, with the parameters of the run.
        name: of the pipeline.
        description: of the pipeline.
        signatures: of each step.
        stages: steps loaded together, in order.
        settings: how the run behaves.
        inputs: folder for the data that generators hold in memory, so that the run goes on without this process; of a
            plan that travels, for data that is too large to be part of it.
        max_batches: how many batches each generator is asked for; None for all.
        travels: of a plan that runs where nothing of this machine is: what is told about its dataset there. Its data
            and the user's modules are part of it.
    """
    away = travels is not None
    files: dict[str, Path] = {}
    steps = tuple(
        _step_spec(
            dag,
            dag.steps[step],
            signatures[step],
            inputs=inputs,
            max_batches=max_batches,
            files=files if away else None,
        )
        for step in dag
    )
    plan = Plan(
        pipeline=name,
        description=description,
        steps=steps,
        routes=tuple(_route_spec(dag, step, travels=away) for step in dag if step in dag.routes),
        stages=tuple(tuple(stage) for stage in stages),
        settings=settings,
        client_path=() if away else tuple(_import_path()),
        client_cwd="" if away else os.getcwd(),
        dataset=travels or DatasetSpec(),
    )
    secrets = {step: values for step in dag if (values := secret_values(dag.steps[step]))}
    return Compiled(plan, secrets, files)


def step_kind(step: _Step) -> Literal["generator", "normal", "global"]:
    """How a step takes its rows."""
    if step.is_generator:
        return "generator"
    return "global" if step.is_global else "normal"


def _step_spec(
    dag: Dag,
    step: _Step,
    signature: StepSignature,
    *,
    inputs: Path | None,
    max_batches: int | None,
    files: dict[str, Path] | None,
) -> StepSpec:
    """What the plan says of a step; of one that travels, its data files are put into `files`."""
    travels = files is not None
    generator = isinstance(step, GeneratorStep)
    known_rows = step.num_rows() if generator else None
    size = batch_size(step)
    if known_rows is not None and max_batches is not None:
        known_rows = min(known_rows, size * max_batches)
    offline = asks_in_batch_jobs(step)
    sent, data = step, tuple[DataFile, ...]()
    if generator and files is not None:
        sent, paths = (step.carried(), []) if inputs is None else step.apart(inputs / step.name)
        found = [(described(path), path) for path in paths]
        data = tuple(file for file, _ in found)
        files.update((file.digest, path) for file, path in found)
    elif generator and inputs is not None:
        sent = step.stored(inputs / step.name)
    return StepSpec(
        name=step.name,
        kind=step_kind(step),
        size=size,
        predecessors=tuple(dag.graph.predecessors(step.name)),
        multiple_inputs=step.has_multiple_inputs(),
        resources=_resources(step),
        outputs=tuple(dag.columns_of(step.name)),
        signature=signature.digest,
        signature_fields=signature.fields,
        use_cache=step.use_cache,
        stateful=step.stateful,
        models=any(hasattr(step, name) for name in _MODEL_FIELDS),
        # A provider may take a day: neither bound is on that.
        batch_timeout=None if offline else step.batch_timeout,
        **({"stall_after": NEVER} if offline else {}),
        max_failure_rate=step.max_failure_rate,
        max_batches=max_batches if generator else None,
        known_rows=known_rows,
        secrets=secret_variables(step) if travels else {},
        definition=pickled_step(sent, travels=travels),
        data=data,
    )


def _resources(step: _Step) -> ResourceSpec:
    wanted = step.resources
    return ResourceSpec(
        replicas=(wanted.replicas or 1) if step.is_normal else 1,
        cpus=wanted.cpus,
        gpus=wanted.gpus,
        memory=wanted.memory,
        resources=wanted.resources or {},
        labels=wanted.labels or {},
    )


def _route_spec(dag: Dag, step: str, *, travels: bool) -> RouteSpec:
    route = dag.routes[step]
    if route.sample is not None:
        return RouteSpec(step=step, sample=route.sample)
    what = f"The routing function '{route_name(route)}' behind step '{step}'"
    code = pickled_function(route.routing_function, what, travels=travels)
    return RouteSpec(step=step, function=code, signature=route_signature(route))


def _import_path() -> list[str]:
    """`sys.path` as other processes can use it: the empty entry stands for the folder the script runs in."""
    return [os.path.abspath(entry) for entry in sys.path if not entry or os.path.exists(entry)]

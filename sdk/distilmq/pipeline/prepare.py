"""From a pipeline and the arguments of `run` to what is run: parameters set, dataset in front, checked, signed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from distilmq.constants import CACHE_DIR_ENV_NAME
from distilmq.errors import DistilmqUserError
from distilmq.graph import load_stages, sequential_stages
from distilmq.pipeline.budget import check_bounds
from distilmq.pipeline.dag import Dag
from distilmq.pipeline.offline_batches import ask_at_once
from distilmq.pipeline.parameters import Parameters, set_parameters
from distilmq.pipeline.signatures import StepSignature, plan_signature, sign
from distilmq.pipeline.validation import validate
from distilmq.protocol.packing import pack
from distilmq.protocol.plan import Storage
from distilmq.steps.base import _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it
from distilmq.utils.secret_options import has_password, secrets_in

LoadGroups = list[list[Any]] | Literal["sequential_step_execution"] | None
_RUN_ID = 16
_RAY = ("RAY_NODE_TYPE_NAME", "RAY_CLUSTER_NAME", "RAY_ADDRESS")

_log = logging.getLogger("distilmq.pipeline")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The arguments of `Pipeline.run`, and the batch size of a dry run."""

    parameters: Parameters | None = None
    load_groups: LoadGroups = None
    use_cache: bool = True
    storage_parameters: Mapping[str, Any] | None = None
    use_fs_to_pass_data: bool = False
    dataset: Any = None
    dataset_batch_size: int = 50
    logging_handlers: list[logging.Handler] = field(default_factory=list[logging.Handler])
    dry_run: int | None = None
    """Rows in the one batch of each generator; None for a real run."""
    max_cost: float | None = None
    max_tokens: int | None = None
    estimating: bool = False
    """Of a dry run: only its estimate is wanted."""
    estimate_rows: int | None = None
    """Of a dry run: how many rows its estimate is for; None for those that are known."""
    elsewhere: bool = False
    """Whether other machines than this one run it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A pipeline that can run."""

    dag: Dag
    stages: list[list[str]]
    signatures: dict[str, StepSignature]
    run_id: str
    columns: dict[str, list[str]]
    """Behind each step, as far as they are known."""

    @property
    def features(self) -> dict[str, Any]:
        """What the datasets that were given declare of their columns."""
        declared: dict[str, Any] = {}
        for generator in self.dag.generators:
            declared.update(generator.features() or {})
        return declared


def prepare(dag: Dag, options: RunOptions) -> Prepared:
    """Makes a copy of a pipeline that is ready to run.

    Raises:
        DistilmqUserError: the pipeline or an argument is wrong.
    """
    _check_options(options)
    copy = dag.copied()
    if options.dataset is not None:
        _put_in_front(copy, options)
    set_parameters(copy, options.parameters)
    columns = validate(copy)
    if options.dry_run is not None:
        # Behind the checks: what they say of sizes is about the run.
        for generator in copy.generators:
            vars(generator)["batch_size"] = options.dry_run
            generator._most_rows = options.dry_run  # pyright: ignore[reportPrivateUsage]  # no parameter of users
        for name in copy:
            ask_at_once(copy.steps[name])
    stages = stages_of(copy, options.load_groups)
    signatures = sign(copy)
    return Prepared(copy, stages, signatures, plan_signature(copy, signatures)[:_RUN_ID], columns)


def stages_of(dag: Dag, load_groups: LoadGroups = None) -> list[list[str]]:
    """The steps that are loaded together, stage by stage; groups name steps or hold them."""
    if load_groups == "sequential_step_execution":
        return sequential_stages(dag.graph)
    if isinstance(load_groups, str):
        raise DistilmqUserError(
            f"'{load_groups}' says nothing about `load_groups`: they are a list of lists of steps, or"
            " 'sequential_step_execution'."
        )
    return load_stages(
        dag.graph, global_steps=dag.global_steps, groups=[_names_of(group) for group in load_groups or []]
    )


def default_name(dag: Dag) -> str:
    """What a pipeline without a name is called: after its steps."""
    return "pipeline_" + "_".join(dag)


def cache_dir_of(argument: str | os.PathLike[str] | None) -> Path:
    """Where runs are kept: the argument, else the environment, else a folder in the user's cache."""
    chosen = argument or os.environ.get(CACHE_DIR_ENV_NAME)
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".cache" / "distilmq" / "pipelines"


def _put_in_front(dag: Dag, options: RunOptions) -> None:
    from distilmq.steps.generators.utils import make_generator_step

    if dag.generators:
        raise DistilmqUserError(
            f"The pipeline has the generator step '{dag.generators[0].name}' already: leave it out, or do not pass"
            " `dataset=...`."
        )
    roots = dag.graph.roots
    routed = dag.root_route[1] if dag.root_route is not None else []
    left_over = [name for name in roots if name not in routed]
    if dag.root_route is not None and left_over:
        raise DistilmqUserError(
            f"Step '{left_over[0]}' has nothing in front of it, while the routing function at the root sends the"
            f" batches of `dataset=` to {', '.join(routed)}: add it to the list behind the routing function."
        )
    loader = make_generator_step(options.dataset, pipeline=cast("Any", dag), batch_size=options.dataset_batch_size)
    for name in routed or roots:
        dag.add_edge(loader.name, name)
    if dag.root_route is not None:
        dag.set_route(loader.name, dag.root_route[0])
        dag.root_route = None


def _names_of(group: Any) -> list[str]:
    if not isinstance(group, (list, tuple)) or not group:
        raise DistilmqUserError(
            f"A load group is a list of steps or of their names, not {_described(group)}: write"
            ' load_groups=[["step_1", "step_2"], ["step_3"]].'
        )
    return [member.name if isinstance(member, _Step) else str(member) for member in cast("list[Any]", group)]


def _described(group: Any) -> str:
    return f"the step '{group.name}'" if isinstance(group, _Step) else repr(group)


def storage_of(options: RunOptions, default: str = "") -> Storage | None:
    """By way of which file system rows go.

    Args:
        options: of the run.
        default: where nothing else is said; empty where there is no such place.

    Raises:
        DistilmqUserError: there is no place, or an option cannot travel.
    """
    given = dict(options.storage_parameters or {})
    if not given and not options.use_fs_to_pass_data:
        return None
    path = str(given.pop("path", default))
    if not path:
        raise DistilmqUserError(
            "`use_fs_to_pass_data` needs a place that the broker and all workers can reach:"
            ' storage_parameters={"path": "file:///shared/folder"}, or "s3://bucket/folder", …'
        )
    try:
        pack(given)
    except (TypeError, ValueError) as error:
        raise DistilmqUserError(
            f"`storage_parameters` may hold texts, numbers, lists and dicts, which travel to the workers: {error}"
        ) from error
    return Storage(path=path, options=given, everything=options.use_fs_to_pass_data)


def _check_options(options: RunOptions) -> None:
    check_bounds(options.max_cost, options.max_tokens)
    storage = options.storage_parameters
    if storage is not None and "path" not in storage:
        raise DistilmqUserError(
            "The 'path' key must be present in the `storage_parameters` dictionary if it's not `None`:"
            ' storage_parameters={"path": "s3://bucket/folder", ...}'
        )
    if storage is not None:
        _warn_of_secrets(storage)
    if options.dry_run is not None and options.dry_run < 1:
        raise DistilmqUserError(f"`batch_size` of a dry run has to be at least 1, not {options.dry_run}")
    if all(name in os.environ for name in _RAY) and not options.elsewhere:
        _log.warning(
            "This is a Ray cluster, and the pipeline runs on this machine only. `pipeline.ray().run()` runs it on the"
            " cluster."
        )


def _warn_of_secrets(storage: Mapping[str, Any]) -> None:
    names = dict.fromkeys(name for name, _ in secrets_in(storage))
    if has_password(str(storage["path"])):
        names["path"] = None
    for name in names:
        _log.warning(
            "`storage_parameters[%r]` is kept with the plan of the run, in a file that only its owner may read."
            " What the file system finds in the environment of coordinator and workers is not.",
            name,
        )

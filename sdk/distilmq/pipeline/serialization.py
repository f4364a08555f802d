"""Pipelines as plain data: dumped, saved, and built again, those of distilabel 1.5 included."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import ValidationError

from distilmq.constants import DISTILMQ_METADATA_KEY
from distilmq.errors import DistilmqUserError
from distilmq.mixins.serialization import TYPE_INFO_KEY, load_class
from distilmq.pipeline.dag import Dag
from distilmq.pipeline.parameters import told
from distilmq.steps.base import _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it
from distilmq.steps.routing import RoutingBatchFunction
from distilmq.utils.files import Format, fetch, read, save, suggested_path

if TYPE_CHECKING:
    from distilmq.pipeline.pipeline import Pipeline

P = TypeVar("P", bound="Pipeline")

_ROOT = "distilmq"
_ROOTS = (_ROOT, "distilabel")
_RENAMED = {"distilabel_metadata": DISTILMQ_METADATA_KEY}

_log = logging.getLogger("distilmq.pipeline")


def dump_pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """A pipeline as plain data, without secrets."""
    return dump_dag(
        pipeline.dag, name=pipeline.name, description=pipeline.description, requirements=pipeline.requirements
    )


def dump_dag(
    dag: Dag, *, name: str, description: str | None, requirements: Sequence[str], without_rows: Collection[str] = ()
) -> dict[str, Any]:
    """The dump of a pipeline with these steps; of some of them the rows that they hold are left out.

    Raises:
        DistilmqUserError: a routing function cannot be found again by its name.
    """
    from importlib import metadata  # here, not above: it takes 30 ms, and not every import is for a dump

    routes = [route.dump(step) for step, route in dag.routes.items()]
    if dag.root_route is not None:
        route, successors = dag.root_route
        routes.append({**route.dump(None), "step": None, "successors": list(successors)})
    return {
        _ROOT: {"version": metadata.version("distilmq")},
        "pipeline": {
            "name": name,
            "description": description,
            "steps": [
                {"step": step.dump(with_rows=False) if name in without_rows else step.dump(), "name": name}
                for name, step in dag.steps.items()
            ],
            "connections": [{"from": step, "to": dag.graph.successors(step)} for step in dag.graph],
            "routing_batch_functions": routes,
            TYPE_INFO_KEY: {"module": "distilmq.pipeline.pipeline", "name": "Pipeline"},
        },
        "requirements": list(requirements),
    }


def save_pipeline(
    pipeline: Pipeline, path: str | os.PathLike[str] | None, format: Format, dump: dict[str, Any] | None
) -> None:
    """Writes a dump as JSON or YAML."""
    target = suggested_path(None if path is None else Path(path), format)
    save(dump if dump is not None else dump_pipeline(pipeline), target, format)


def load_pipeline(kind: type[P], data: Mapping[str, Any], *, trust_remote_code: bool) -> P:
    """The pipeline in a dump.

    Raises:
        DistilmqUserError: it is no dump of a pipeline, or names a class that is not trusted.
    """
    content = data.get("pipeline") if isinstance(data, Mapping) else None  # pyright: ignore[reportUnnecessaryIsInstance]  # what the user gives is checked here
    if not isinstance(content, Mapping) or not isinstance(cast("Mapping[str, Any]", content).get("steps"), list):
        raise DistilmqUserError(
            "This is not the dump of a pipeline: it has no `pipeline` with `steps`. `Pipeline.save` writes one."
        )
    if not any(root in data for root in _ROOTS):
        raise DistilmqUserError(f"This is not the dump of a pipeline: it says neither of {list(_ROOTS)} wrote it.")
    described = cast("dict[str, Any]", content if _ROOT in data else _without_distilabel(content))
    pipeline = kind(
        name=described.get("name"),
        description=described.get("description"),
        requirements=list(data.get("requirements") or described.get("requirements") or []),
    )
    with pipeline:
        for step in _dicts(described, "steps"):
            _load_step(step, trust_remote_code=trust_remote_code)
    for connection in _dicts(described, "connections"):
        for target in _list(connection.get("to"), "connections"):
            pipeline.add_edge(str(connection.get("from")), str(target))
    for route in _dicts(described, "routing_batch_functions"):
        _load_route(pipeline, route, trust_remote_code=trust_remote_code)
    return pipeline


def read_file(path: str | os.PathLike[str], format: Format | None) -> dict[str, Any]:
    """The dump in a file; without a format the suffix says which."""
    return read(Path(path), format)


def read_url(url: str) -> dict[str, Any]:
    """The dump under a URL."""
    return fetch(url)


def _dicts(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    items = _list(content.get(key), key)
    if not all(isinstance(item, dict) for item in items):
        raise DistilmqUserError(f"This is not the dump of a pipeline: not all of its `{key}` are mappings.")
    return items


def _list(value: Any, key: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise DistilmqUserError(f"This is not the dump of a pipeline: where its `{key}` have a list stands '{value}'.")
    return cast("list[Any]", value or [])


def _load_step(dumped: Mapping[str, Any], *, trust_remote_code: bool) -> None:
    if not isinstance(dumped.get("step"), Mapping):
        raise DistilmqUserError(f"This is not the dump of a pipeline: its step '{dumped.get('name')}' is no mapping.")
    content: dict[str, Any] = dict(dumped["step"])
    content.setdefault("name", dumped.get("name"))
    info = content.get(TYPE_INFO_KEY)
    if not isinstance(info, Mapping):
        raise DistilmqUserError(f"Step '{dumped.get('name')}' has no `type_info`: its class is not known.")
    kind = load_class(cast("Mapping[str, Any]", info), trust_remote_code=trust_remote_code)
    if not issubclass(kind, _Step):
        raise DistilmqUserError(f"Step '{dumped.get('name')}' is of the class '{kind.__name__}', which is no step.")
    try:
        step = kind.from_dict(content, trust_remote_code=trust_remote_code)
    except ValidationError as error:
        raise DistilmqUserError(f"Step '{dumped.get('name')}' cannot be loaded: {told(error)}") from error
    if "data" in kind.model_fields and "data" not in content:
        _log.warning(
            "Step '%s' has no rows, since distilabel does not save them: set `pipeline.dag.steps['%s'].data`, or leave"
            " the step out and pass `dataset=...` to `Pipeline.run`.",
            step.name, step.name,
        )  # fmt: skip


def _load_route(pipeline: Pipeline, dumped: Mapping[str, Any], *, trust_remote_code: bool) -> None:
    route = RoutingBatchFunction.from_dict(dumped, trust_remote_code=trust_remote_code)
    step = dumped.get("step")
    if step is None:
        pipeline.set_root_route(route, list(dumped.get("successors") or pipeline.dag.graph.roots))
    elif pipeline.has_step(step):
        pipeline.set_route(step, route)
    else:
        raise DistilmqUserError(f"The dump has a routing function behind step '{step}', which it does not have.")


def _without_distilabel(value: Any) -> Any:
    """A dump with distilabel's name of the metadata column as ours, also where it is a key."""
    if isinstance(value, str):
        return _RENAMED.get(value, value)
    if isinstance(value, Mapping):
        renamed: dict[Any, Any] = {}
        for key, item in cast("Mapping[Any, Any]", value).items():
            renamed[_RENAMED.get(key, key)] = _without_distilabel(item)
        return renamed
    if isinstance(value, list):
        return [_without_distilabel(item) for item in cast("list[Any]", value)]
    return value

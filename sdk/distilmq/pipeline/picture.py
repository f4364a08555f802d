"""What a picture of a pipeline shows: boxes for steps, arrows for edges, a box for the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from distilmq.pipeline.dag import Dag, route_name

_MOST_COLUMNS = 6
_RESULT = "\0distiset"
_GIVEN = "\0dataset"


@dataclass(frozen=True, slots=True)
class Node:
    """A box."""

    key: str
    title: str
    subtitle: str
    kind: Literal["generator", "normal", "global", "task", "result"]


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge, with the columns that its source adds."""

    source: str
    target: str
    label: tuple[str, ...]
    routed: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """All there is to paint."""

    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]


def picture_of(dag: Dag) -> Picture:
    """The picture of a pipeline."""
    nodes = [Node(name, name, type(dag.steps[name]).__name__, _kind(dag, name)) for name in dag.graph.order()]
    arrows = [Arrow(source, target, _label(dag, source), source in dag.routes) for source, target in dag.graph.edges()]
    if dag.root_route is not None:
        route, successors = dag.root_route
        nodes.insert(0, Node(_GIVEN, "dataset", "given to run", "generator"))
        arrows += [Arrow(_GIVEN, name, (f"routed by {route_name(route)}",), routed=True) for name in successors]
    if nodes:
        nodes.append(Node(_RESULT, "Distiset", "", "result"))
        arrows += [Arrow(leaf, _RESULT, _label(dag, leaf)) for leaf in dag.graph.leaves]
    return Picture(tuple(nodes), tuple(arrows))


def _kind(dag: Dag, name: str) -> Literal["generator", "normal", "global", "task"]:
    step = dag.steps[name]
    if step.is_generator:
        return "generator"
    if step.is_global:
        return "global"
    return "task" if hasattr(step, "llm") else "normal"


def _label(dag: Dag, source: str) -> tuple[str, ...]:
    route = dag.routes.get(source)
    first = [f"routed by {route_name(route)}"] if route is not None else []
    return (*first, *_shortened(dag.columns_of(source)))


def _shortened(columns: Sequence[str]) -> list[str]:
    if not columns:
        return ["dynamic columns"]
    if len(columns) <= _MOST_COLUMNS:
        return list(columns)
    return [*columns[: _MOST_COLUMNS - 1], f"and {len(columns) - _MOST_COLUMNS + 1} more"]

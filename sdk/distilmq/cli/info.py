"""What `distilmq pipeline info` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text
from rich.tree import Tree

from distilmq.pipeline import Pipeline
from distilmq.pipeline.dag import route_name


def show(pipeline: Pipeline, console: Console | None = None) -> None:
    """Prints name, description, runtime parameters, connections and routing functions."""
    parts = [
        Text(f"Name: {pipeline.name}"),
        Text(f"Description: {pipeline.description or '-'}"),
        _parameters(pipeline),
        _connections(pipeline),
    ]
    if pipeline.dag.routes or pipeline.dag.root_route:
        parts.append(_routes(pipeline))
    (console or Console()).print(Panel(Group(*parts), title="Pipeline", expand=False))


def _parameters(pipeline: Pipeline) -> Tree:
    tree = Tree("Runtime parameters:")
    for step, infos in pipeline.get_runtime_parameters_info().items():
        _add(tree.add(Text(step, style="bold")), cast("Any", infos))
    return tree


def _add(tree: Tree, infos: Any) -> None:
    """Parameters of a model; of a list of models each under its index."""
    if isinstance(infos, Mapping):
        for key, inner in cast("Mapping[str, Any]", infos).items():
            _add(tree.add(Text(key)), inner)
        return
    for info in cast("Iterable[Mapping[str, Any]]", infos):
        nested = info.get("runtime_parameters_info") or info.get("keys")
        if nested is not None:
            _add(tree.add(Text(f"{info['name']}:")), nested)
        else:
            kind = "optional" if info.get("optional", True) else "required"
            description = f": {info['description']}" if info.get("description") else ""
            tree.add(Text(f"{info['name']} ({kind}){description}"))


def _connections(pipeline: Pipeline) -> Tree:
    tree = Tree("Connections:")
    for source, target in pipeline.dag.graph.edges():
        tree.add(Text(f"{source} -> {target}"))
    return tree


def _routes(pipeline: Pipeline) -> Tree:
    tree = Tree("Routing functions:")
    for step, route in pipeline.dag.routes.items():
        described = f": {route.description}" if route.description else ""
        tree.add(Text(f"{step}: {route_name(route)}{described}"))
    if pipeline.dag.root_route is not None:
        route, successors = pipeline.dag.root_route
        tree.add(Text(f"root: {route_name(route)}, in front of {', '.join(successors)}"))
    return tree

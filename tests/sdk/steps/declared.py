"""A small pipeline for tests of steps: it takes down what is declared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distilmq.steps.base import _Step
from distilmq.steps.declaring import current_pipeline
from distilmq.steps.routing import RoutingBatchFunction


class DeclaredPipeline:
    """Fulfils `Declaring`."""

    def __init__(self) -> None:
        self.steps: dict[str, _Step] = {}
        self.edges: list[tuple[str, str]] = []
        self.routes: dict[str, RoutingBatchFunction] = {}
        self.root_route: tuple[RoutingBatchFunction, list[str]] | None = None

    def add_step(self, step: _Step) -> None:
        if step.name in self.steps:
            raise ValueError(f"Step with name '{step.name}' already exists")
        self.steps[step.name] = step

    def has_step(self, name: str) -> bool:
        return name in self.steps

    def add_edge(self, from_step: str, to_step: str) -> None:
        self.edges.append((from_step, to_step))

    def set_route(self, step: str, route: RoutingBatchFunction) -> None:
        self.routes[step] = route

    def set_root_route(self, route: RoutingBatchFunction, successors: list[str]) -> None:
        self.root_route = (route, successors)


@contextmanager
def building() -> Iterator[DeclaredPipeline]:
    """A pipeline that the steps made within join."""
    pipeline = DeclaredPipeline()
    token = current_pipeline.set(pipeline)
    try:
        yield pipeline
    finally:
        current_pipeline.reset(token)

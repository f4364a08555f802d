"""The steps of a pipeline, how they are connected, and which of its batches are routed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from pydantic import BaseModel

from distilmq.errors import DistilmqUserError
from distilmq.graph import Graph
from distilmq.steps.base import GeneratorStep, _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it
from distilmq.steps.routing import RoutingBatchFunction


class Dag:
    """What is built within `with Pipeline(…)`; a run works on a copy.

    Attributes:
        graph: names and edges.
        steps: by name.
        routes: the routing function behind a step.
        root_route: the routing function that stands at the root, and the steps behind it.
    """

    def __init__(self) -> None:
        self.graph = Graph()
        self.steps: dict[str, _Step] = {}
        self.routes: dict[str, RoutingBatchFunction] = {}
        self.root_route: tuple[RoutingBatchFunction, list[str]] | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self.graph.order())

    def __len__(self) -> int:
        return len(self.graph)

    def __bool__(self) -> bool:
        """An empty one is one as well: steps ask whether they have a pipeline."""
        return True

    def add_step(self, step: _Step) -> None:
        """Takes a step in; see `Declaring.add_step`."""
        self.graph.add(step.name)
        self.steps[step.name] = step

    def has_step(self, name: str) -> bool:
        """Whether a step has that name."""
        return name in self.steps

    def add_edge(self, from_step: str, to_step: str) -> None:
        """Lets rows flow; see `Declaring.add_edge`."""
        self.graph.connect(from_step, to_step)

    def set_route(self, step: str, route: RoutingBatchFunction) -> None:
        """Lets a routing function choose among the successors of a step."""
        before = self.routes.setdefault(step, route)
        if before is not route:
            raise DistilmqUserError(
                f"Step '{step}' has the routing function '{route_name(before)}' behind it already, which chooses among"
                f" all steps that follow: '{route_name(route)}' needs a step of its own in front of it."
            )

    def set_root_route(self, route: RoutingBatchFunction, successors: list[str]) -> None:
        """Lets a routing function choose among these steps for batches of the generator that is put in front."""
        for name in successors:
            if name not in self.steps:
                raise DistilmqUserError(f"Step with name '{name}' does not exist in this pipeline.")
        if self.root_route is not None and self.root_route[0] is not route:
            raise DistilmqUserError(
                f"The pipeline has the routing function '{route_name(self.root_route[0])}' at its root already:"
                f" '{route_name(route)}' needs a step in front of it."
            )
        before = self.root_route[1] if self.root_route is not None else []
        self.root_route = (route, [*before, *(name for name in successors if name not in before)])

    def get_step(self, name: str) -> dict[str, Any]:
        """The step of that name, as distilabel's DAG gives it."""
        if name not in self.steps:
            raise DistilmqUserError(f"Step with name '{name}' does not exist in this pipeline.")
        return {"step": self.steps[name]}

    def get_step_predecessors(self, name: str) -> list[str]:
        """The steps in front of one."""
        return self.graph.predecessors(name)

    def get_step_successors(self, name: str) -> list[str]:
        """The steps behind one."""
        return self.graph.successors(name)

    @property
    def root_steps(self) -> list[str]:
        """The steps that nothing comes before."""
        return self.graph.roots

    @property
    def leaf_steps(self) -> list[str]:
        """The steps that nothing follows."""
        return self.graph.leaves

    @property
    def global_steps(self) -> list[str]:
        """The steps that take all rows at once."""
        return [name for name, step in self.steps.items() if step.is_global]

    @property
    def generators(self) -> list[GeneratorStep]:
        """The steps that make rows."""
        return [step for step in self.steps.values() if isinstance(step, GeneratorStep)]

    def columns_of(self, name: str) -> list[str]:
        """The columns that a step adds; empty when that is not known before it runs."""
        try:
            return list(self.steps[name].get_outputs())
        except Exception:  # noqa: BLE001  # `outputs` is the user's code, and may need what only a run gives it
            return []

    def copied(self) -> Dag:
        """A copy whose steps can be changed without changing these; data within them is shared."""
        other = Dag()
        other.graph = self.graph.copy()
        other.routes = dict(self.routes)
        other.root_route = self.root_route
        for name, step in self.steps.items():
            other.steps[name] = copied_step(step)
            vars(other.steps[name])["pipeline"] = other
        return other


def route_name(route: RoutingBatchFunction) -> str:
    """How a person calls a routing function."""
    if route.sample is not None:
        return f"sample_n_steps({route.sample})"
    return getattr(route.routing_function, "__name__", type(route.routing_function).__name__)


def copied_step(step: _Step) -> _Step:
    """A copy of a step that can be changed without changing it; data within it is shared."""
    return cast(_Step, _copied_model(step))


def _copied_model(model: BaseModel) -> BaseModel:
    """A copy down to the last nested model and plain dict, but not of the data in lists.

    Attributes are set past pydantic: the values were validated, and the originals' validators may do work.
    """
    copy = model.model_copy()
    for name, value in model.__dict__.items():
        if name != "pipeline":
            vars(copy)[name] = _copied_value(value)
    private: dict[str, Any] = copy.__pydantic_private__ or {}
    for name, value in private.items():
        if type(value) is dict:
            private[name] = dict(cast("dict[Any, Any]", value))
    return copy


def _copied_value(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _copied_model(value)
    if type(value) is dict:
        return {key: _copied_value(item) for key, item in cast("dict[Any, Any]", value).items()}
    if type(value) is tuple:
        return tuple(_copied_value(item) for item in cast("tuple[Any, ...]", value))
    if type(value) is list:
        items = cast("list[Any]", value)
        # Rows are shared: a list of a million dicts is neither walked nor changed.
        return (
            [_copied_value(item) for item in items]
            if any(isinstance(item, BaseModel) for item in items[:64])
            else items
        )
    return value

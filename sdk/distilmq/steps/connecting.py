"""Connecting steps: `connect`, and `>>` between steps, lists of steps and routing functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from distilmq.errors import DistilmqTypeError, DistilmqUserError
from distilmq.steps.declaring import pipeline_of
from distilmq.steps.routing import RoutingBatchFunction

if TYPE_CHECKING:
    from distilmq.steps.base import _Step

StepT = TypeVar("StepT", bound="_Step")


class Connectable:
    """A step as seen by those who connect it."""

    def connect(self, *steps: Connectable, routing_batch_function: RoutingBatchFunction | None = None) -> None:
        """Lets the rows of this step flow to others.

        Args:
            steps: those that take the rows.
            routing_batch_function: chooses which of them take a batch; without it all do.
        """
        this = cast("_Step", self)
        for step in steps:
            if not isinstance(step, Connectable):  # pyright: ignore[reportUnnecessaryIsInstance]  # what the user wrote is checked here
                raise DistilmqUserError(
                    f"Step '{this.name}' can only be connected to steps, not to a '{type(step).__name__}': write"
                    f" `{this.name}.connect(step_1, step_2)`, or `{this.name} >> [step_1, step_2]`."
                )
        pipeline = pipeline_of([this, *cast("tuple[_Step, ...]", steps)])
        for step in cast("tuple[_Step, ...]", steps):
            pipeline.add_edge(this.name, step.name)
        if routing_batch_function is not None:
            pipeline.set_route(this.name, RoutingBatchFunction.of(routing_batch_function))

    @overload
    def __rshift__(self, other: StepT) -> StepT: ...
    @overload
    def __rshift__(self, other: list[StepT]) -> list[StepT]: ...
    @overload
    def __rshift__(self, other: RoutingBatchFunction) -> RoutingBatchFunction: ...
    def __rshift__(self, other: Any) -> Any:
        """`a >> b`, `a >> [b, c]` and `a >> routing_function`; gives what stands on the right."""
        if isinstance(other, RoutingBatchFunction):
            return other.behind(cast("_Step", self))
        if isinstance(other, Connectable):
            self.connect(other)
            return other
        if isinstance(other, list) and all(isinstance(step, Connectable) for step in cast("list[Any]", other)):
            self.connect(*cast("list[Connectable]", other))
            return cast("list[Connectable]", other)
        if callable(cast("object", other)):
            raise DistilmqTypeError(_how_to_connect(cast("_Step", self).name, other))
        return NotImplemented

    def __rrshift__(self, other: Sequence[Connectable]) -> Self:
        """`[a, b] >> c`; gives `c`."""
        if not isinstance(other, (list, tuple)) or not all(hasattr(step, "connect") for step in other):
            return NotImplemented
        for step in other:
            step.connect(self)
        return self


def _how_to_connect(step: str, function: Any) -> str:
    """What is missing where a function, or a class of step, stands behind a step."""
    name = getattr(function, "__name__", "route")
    if isinstance(function, type):
        return f"Step '{step}' cannot be connected to the class '{name}': write `{step} >> {name}(...)`."
    return (
        f"Step '{step}' cannot be connected to the function '{name}'. One that chooses among the steps that follow"
        f" needs `@routing_batch_function` above it: `{step} >> {name} >> [step_1, step_2]`."
    )

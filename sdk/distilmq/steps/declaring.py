"""What a step asks of the pipeline it joins, and which pipeline that is; steps never import pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, cast

from distilmq.errors import DistilmqUserError

if TYPE_CHECKING:
    from distilmq.steps.base import _Step
    from distilmq.steps.routing import RoutingBatchFunction


class Declaring(Protocol):
    """A pipeline that is being built."""

    def add_step(self, step: _Step) -> None:
        """Takes a step in.

        Raises:
            ValueError: it has a step of that name.
        """
        ...

    def has_step(self, name: str) -> bool:
        """Whether a step has that name."""
        ...

    def add_edge(self, from_step: str, to_step: str) -> None:
        """Lets the rows of one step flow to another.

        Raises:
            ValueError: one of them does not exist, the edge does, or it closes a circle.
        """
        ...

    def set_route(self, step: str, route: RoutingBatchFunction) -> None:
        """Lets a routing function choose which of its successors take a batch of the step."""
        ...

    def set_root_route(self, route: RoutingBatchFunction, successors: list[str]) -> None:
        """Lets a routing function choose among these steps for each batch of the generator that `run(dataset=…)`
        puts in front of the pipeline."""
        ...


current_pipeline: ContextVar[Declaring | None] = ContextVar("current_pipeline", default=None)
"""The pipeline of the innermost `with Pipeline(…)`. Leaving resets it by token, so outer ones are restored."""


def pipeline_of(steps: Sequence[_Step]) -> Declaring:
    """The one pipeline that all these steps are part of.

    Raises:
        DistilmqUserError: one is part of none, or they are parts of several.
    """
    for step in steps:
        if step.pipeline is None:
            raise DistilmqUserError(
                f"Step '{step.name}' cannot be connected: it is not part of a pipeline. Create it within"
                " `with Pipeline(...):`, or give it `pipeline=...`."
            )
        if step.pipeline is not steps[0].pipeline:
            raise DistilmqUserError(
                f"Step '{steps[0].name}' and step '{step.name}' cannot be connected: they are parts of different"
                " pipelines."
            )
    return cast("Declaring", steps[0].pipeline)

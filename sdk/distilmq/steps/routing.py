"""Routing functions: which of the steps behind another one take a batch."""

from __future__ import annotations

import inspect
import json
import random
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.serialization import TYPE_INFO_KEY, load_object, our_module
from distilmq.steps.declaring import pipeline_of

if TYPE_CHECKING:
    from distilmq.steps.base import _Step

StepT = TypeVar("StepT", bound="_Step")
RoutingFunction = Callable[[list[str]], list[str]]
"""From the names of the steps that follow to those that take the batch."""


class RoutingBatchFunction(BaseModel):
    """A routing function, which stands between a step and those that follow: `a >> route >> [b, c]`.

    Attributes:
        routing_function: gives the names of the steps that take the batch.
        description: what it does, for people.
        sample: it chooses so many steps at random (`sample_n_steps`): nothing else needs to be known of it.
    """

    model_config = ConfigDict(extra="forbid")

    routing_function: RoutingFunction = Field(exclude=True)
    description: str | None = None
    sample: int | None = None

    _origin: dict[str, Any] | None = PrivateAttr(default=None)
    """How it is found again: `module`, `name`, and `kwargs` when that is a function that makes it."""
    _step: Any = PrivateAttr(default=None)
    """The step in front of it in the chain that is being written."""

    @classmethod
    def of(cls, function: RoutingBatchFunction | RoutingFunction) -> RoutingBatchFunction:
        """The routing function itself, or one made of a bare function."""
        if isinstance(function, RoutingBatchFunction):
            return function
        return cls(routing_function=function)

    def __call__(self, steps: list[str]) -> list[str]:
        """The names of the steps that take the batch, out of those that follow."""
        return self.routing_function(steps)

    def behind(self, step: _Step) -> RoutingBatchFunction:
        """The routing function, standing behind a step: `step >> route`."""
        self._step = step
        pipeline_of([step]).set_route(step.name, self)
        return self

    def __rshift__(self, other: list[StepT]) -> list[StepT]:
        """`route >> [a, b]`: connects the step in front with these, or makes them the roots of the pipeline."""
        if not isinstance(other, list) or not other or not all(hasattr(step, "connect") for step in other):  # pyright: ignore[reportUnnecessaryIsInstance]  # what the user wrote is checked here
            raise DistilmqUserError(
                f"Can only set a `routing_batch_function` for a list of steps. Got: {other}."
                " Please, review the right-hand side of the `routing_batch_function >> other` expression. It should"
                " be `routing_batch_function >> [step_1, step_2, ...]`."
            )
        pipeline = pipeline_of(other)
        # One function may stand in chains of several pipelines: a step of another one is not in front here.
        if self._step is None or self._step.pipeline is not pipeline:
            pipeline.set_root_route(self, [step.name for step in other])
        else:
            self._step.connect(*other, routing_batch_function=self)
        return other

    def dump(self, step: str | None = None) -> dict[str, Any]:
        """The routing function as plain data.

        Args:
            step: the one it stands behind; None at the root.

        Raises:
            DistilmqUserError: it cannot be found again by name, since it was made within another function.
        """
        if self._origin is None:
            raise DistilmqUserError(
                f"The routing function '{self.routing_function.__qualname__}' cannot be saved: it can only be found"
                " again if it stands at the top of a module, or if it is made by a function there whose arguments"
                " are plain values."
            )
        dumped: dict[str, Any] = {"step": step or (self._step.name if self._step is not None else None)}
        if self.description is not None:
            dumped["description"] = self.description
        return {**dumped, TYPE_INFO_KEY: self._origin}

    @classmethod
    def from_dict(cls, _dict: Mapping[str, Any], trust_remote_code: bool = False) -> RoutingBatchFunction:
        """Builds the routing function that was dumped."""
        info = cast("dict[str, Any] | None", _dict.get(TYPE_INFO_KEY))
        if info is None:
            raise DistilmqUserError(
                "The routing function was created without a factory function, and it cannot be reconstructed."
            )
        if info.get("name") == "sample_n_steps" and our_module(str(info.get("module"))).startswith("distilmq."):
            return sample_n_steps(**info["kwargs"])
        found: Any = load_object(info, trust_remote_code=trust_remote_code)
        if info.get("kwargs") is not None:
            found = found(**info["kwargs"])
        if not callable(found):
            raise DistilmqUserError(
                f"'{info.get('module')}.{info.get('name')}' gave a '{type(found).__name__}', not a routing function:"
                " let the function stand at the top of a module, or in a function there that returns it."
            )
        made = cls.of(cast("RoutingFunction", found))
        made._origin = dict(info)
        made.description = _dict.get("description", made.description)
        return made

    def __getstate__(self) -> dict[Any, Any]:
        state = dict(super().__getstate__())
        private = dict(state.get("__pydantic_private__") or {})
        state["__pydantic_private__"] = {**private, "_step": None}
        return state


@overload
def routing_batch_function(description: RoutingFunction) -> RoutingBatchFunction: ...
@overload
def routing_batch_function(
    description: str | None = None,
) -> Callable[[RoutingFunction], RoutingBatchFunction]: ...
def routing_batch_function(description: Any = None) -> Any:
    """Makes a routing function of a function: `@routing_batch_function` and `@routing_batch_function("…")`.

    Args:
        description: what it does, for people; or, as a bare decorator, the function.

    Example:
        ```python
        from distilmq.pipeline import routing_batch_function

        @routing_batch_function
        def every_other(steps: list[str]) -> list[str]:
            return steps[::2]
        ```
    """
    if callable(description):
        return _made(cast("RoutingFunction", description), None)

    def decorator(function: RoutingFunction) -> RoutingBatchFunction:
        return _made(function, description)

    return decorator


def sample_n_steps(n: int) -> RoutingBatchFunction:
    """A routing function that sends each batch to `n` of the steps that follow, chosen at random.

    Args:
        n: how many steps take a batch.
    """

    def sample(steps: list[str]) -> list[str]:
        return random.sample(steps, n)

    made = RoutingBatchFunction(routing_function=sample, description=f"Sample {n} steps at random.", sample=n)
    made._origin = {"module": sample_n_steps.__module__, "name": sample_n_steps.__name__, "kwargs": {"n": n}}  # pyright: ignore[reportPrivateUsage]  # its own factory
    return made


def _made(function: RoutingFunction, description: str | None) -> RoutingBatchFunction:
    made = RoutingBatchFunction(routing_function=function, description=description)
    made._origin = _origin_of(function)  # pyright: ignore[reportPrivateUsage]  # its own factory
    return made


def _origin_of(function: RoutingFunction) -> dict[str, Any] | None:
    """How a function is found again: by its name, or by the function that makes it and the arguments of now."""
    *factories, _ = function.__qualname__.split(".<locals>.")
    if not factories:
        return {"module": function.__module__, "name": function.__qualname__}
    arguments = _arguments_of(factories[0]) if len(factories) == 1 else None
    if arguments is None:
        return None
    return {"module": function.__module__, "name": factories[0], "kwargs": arguments}


def _arguments_of(factory: str) -> dict[str, Any] | None:
    """The arguments of the nearest caller of that name, when all of them are plain values."""
    frame = sys._getframe()  # pyright: ignore[reportPrivateUsage]  # the factory is running: its frame is above
    while frame is not None and frame.f_code.co_qualname != factory:
        frame = frame.f_back
    if frame is None:
        return None
    found = inspect.getargvalues(frame)
    if found.varargs or found.keywords:
        return None
    arguments = {name: found.locals[name] for name in found.args if name in found.locals}
    try:
        json.dumps(arguments)
    except (TypeError, ValueError):
        return None
    return arguments

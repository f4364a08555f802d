"""`@step`: a step made of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, cast, overload

from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from distilmq.errors import DistilmqTypeError, DistilmqUserError
from distilmq.mixins.runtime_parameters import is_runtime_parameter
from distilmq.mixins.signature import Signed
from distilmq.steps.base import GeneratorStep, GlobalStep, Step, _Step  # pyright: ignore[reportPrivateUsage]  # ours
from distilmq.steps.inputs import is_step_input, parameters_of, step_input_of
from distilmq.typing import StepColumns
from distilmq.utils.code import code_digest
from distilmq.utils.columns import as_requirements

StepType = Literal["normal", "global", "generator"]

_BASES: dict[str, type[_Step]] = {"normal": Step, "global": GlobalStep, "generator": GeneratorStep}


@overload
def step(
    inputs: StepColumns | None = None, outputs: StepColumns | None = None, step_type: Literal["normal"] = "normal"
) -> Callable[[Callable[..., Any]], type[Step]]: ...
@overload
def step(
    inputs: StepColumns | None = None, outputs: StepColumns | None = None, *, step_type: Literal["global"]
) -> Callable[[Callable[..., Any]], type[GlobalStep]]: ...
@overload
def step(
    inputs: None = None, outputs: StepColumns | None = None, *, step_type: Literal["generator"]
) -> Callable[[Callable[..., Any]], type[GeneratorStep]]: ...
def step(
    inputs: StepColumns | None = None, outputs: StepColumns | None = None, step_type: StepType = "normal"
) -> Callable[[Callable[..., Any]], type[Any]]:
    """Makes a class of step of a function that yields rows.

    Parameters of the function annotated with `RuntimeParameter` become fields of the step, with their defaults.

    Args:
        inputs: columns that the function needs.
        outputs: columns that it adds.
        step_type: whether it transforms rows batch by batch, all at once, or generates them.

    Raises:
        DistilmqUserError: the type is none of these, or a generator is given inputs.
        DistilmqTypeError: two parameters take rows, or columns are neither a list nor a dict.

    Example:
        ```python
        from distilmq.steps import StepInput, StepOutput, step

        @step(inputs=["text"], outputs=["length"])
        def Measure(inputs: StepInput) -> StepOutput:
            yield [{**row, "length": len(row["text"])} for row in inputs]
        ```
    """
    if callable(inputs):
        raise DistilmqUserError(
            f"`@step` above '{getattr(inputs, '__name__', inputs)}' lacks its parentheses: write `@step()`, or"
            " `@step(inputs=[...], outputs=[...])`."
        )
    for columns in (inputs, outputs):
        as_requirements(columns or [])
    if step_type not in _BASES:
        raise DistilmqUserError(f"Invalid step type '{step_type}'. Please, use one of {list(_BASES)}.")
    if step_type == "generator" and inputs:
        raise DistilmqUserError("A generator step takes no rows: it cannot be given `inputs`.")

    def decorator(function: Callable[..., Any]) -> type[Any]:
        parameters = parameters_of(function)
        fields = _fields(parameters)
        taken = step_input_of(parameters, function.__name__)
        if step_type == "generator" and taken is not None:
            raise DistilmqUserError(
                f"Generator step '{function.__name__}' should not have a parameter with type hint `StepInput`."
            )
        made: Any = cast("Any", create_model)(
            function.__name__,
            __base__=(_FromFunction, _BASES[step_type]),
            __module__=function.__module__,
            __doc__=function.__doc__,
            **fields,
        )
        made.__qualname__ = function.__qualname__
        made.function_of_step = staticmethod(function)
        made.takes = frozenset(parameter.name for parameter in parameters)
        made.runtime_parameters_of_function = tuple(fields)
        made.input_columns = inputs if inputs is not None else []
        made.output_columns = outputs if outputs is not None else []
        return made

    return decorator


class _FromFunction(Signed):
    """What a step made of a function does: asks the function."""

    function_of_step: ClassVar[Callable[..., Iterator[Any]]]
    takes: ClassVar[frozenset[str]]
    runtime_parameters_of_function: ClassVar[tuple[str, ...]]
    """Found when the step is made: where it runs, the names in the function's annotations may be missing."""
    input_columns: ClassVar[StepColumns]
    output_columns: ClassVar[StepColumns]

    @property
    def inputs(self) -> StepColumns:
        """Columns that the function needs."""
        return type(self).input_columns

    @property
    def outputs(self) -> StepColumns:
        """Columns that the function adds."""
        return type(self).output_columns

    def process(self, *inputs: Any, **options: Any) -> Iterator[Any]:
        """Calls the function with rows (or an offset) and with the step's runtime parameters."""
        values = {name: getattr(self, name) for name in self.runtime_parameters_of_function}
        values.update({name: value for name, value in options.items() if name in self.takes})
        # Not `yield from`: what the function returns by mistake is for `process_applying_mappings` to name.
        return type(self).function_of_step(*inputs, **values)

    def _process_function(self) -> Callable[..., Any]:
        return type(self).function_of_step

    def _signature_parts(self) -> Iterator[tuple[str, Any]]:
        yield from super()._signature_parts()
        yield "function", code_digest(type(self).function_of_step)


def _fields(parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """The runtime parameters of a function, as fields of a model."""
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if is_step_input(parameter) or parameter.annotation is inspect.Parameter.empty:
            continue
        if not is_runtime_parameter(FieldInfo.from_annotation(parameter.annotation)):
            continue
        if parameter.name in _Step.model_fields:
            raise DistilmqTypeError(
                f"'{parameter.name}' cannot be a runtime parameter: all steps have a field of that name."
            )
        if parameter.default is inspect.Parameter.empty:
            fields[parameter.name] = (parameter.annotation, Field(default=None))
        else:
            fields[parameter.name] = (parameter.annotation, Field(default=parameter.default))
    return fields

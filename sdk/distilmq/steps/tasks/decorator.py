"""`@task`: a task made of a function whose docstring holds the prompts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, ClassVar, cast

from pydantic import create_model

from distilmq.errors import DistilmqUserError
from distilmq.mixins.signature import Signed
from distilmq.steps.tasks.base import Task
from distilmq.typing import ChatType, StepColumns
from distilmq.utils.code import code_digest
from distilmq.utils.columns import as_requirements

_FRONT = re.compile(r"^\s*---\s*$(?P<yaml>.*?)^\s*---\s*$", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")
_BRACES = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""Doubled braces and placeholders, read from the left as `str.format` reads them."""
_NEEDED = ("system_prompt", "user_message_template")


def task(
    inputs: StepColumns | None = None, outputs: StepColumns | None = None
) -> Callable[[Callable[..., Any]], type[Task]]:
    """Makes a class of task of a function from what the model said (and the row) to columns.

    The function's docstring holds the prompts, as YAML between two lines of `---`: `system_prompt` and
    `user_message_template`, both with `{column}` where the value of an input column goes. A prompt may double its
    other braces, as `str.format` wants them, or leave them single.

    Args:
        inputs: columns that the prompts use.
        outputs: columns that the function gives.

    Raises:
        DistilmqUserError: there is no docstring, it holds no prompts, or they use what is no input column.

    Example:
        ```python
        from typing import Any

        from distilmq.steps.tasks import task

        @task(inputs=["topic"], outputs=["question"])
        def Ask(output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
            \"\"\"
            ---
            system_prompt: You write questions for a quiz.
            user_message_template: Write one question about {topic}.
            ---
            \"\"\"
            return {"question": output}
        ```
    """
    if callable(inputs):
        raise DistilmqUserError(
            f"`@task` above '{getattr(inputs, '__name__', inputs)}' lacks its parentheses: write"
            " `@task(inputs=[...], outputs=[...])`."
        )
    columns: StepColumns = inputs if inputs is not None else []
    as_requirements(outputs or [])

    def decorator(function: Callable[..., Any]) -> type[Task]:
        prompts = _prompts_of(function, list(as_requirements(columns)))
        made: Any = cast("Any", create_model)(
            function.__name__,
            __base__=(_FromFunction, Task),
            __module__=function.__module__,
            __doc__=f"Asks the model by the prompts of `{function.__name__}`.",
        )
        made.__qualname__ = function.__qualname__
        made.function_of_task = staticmethod(function)
        made.prompts = prompts
        made.input_columns = columns
        made.output_columns = outputs if outputs is not None else []
        return made

    return decorator


class _FromFunction(Signed):
    """What a task made of a function does: fills the prompts of its docstring, and asks the function."""

    function_of_task: ClassVar[Callable[..., dict[str, Any]]]
    prompts: ClassVar[dict[str, str]]
    input_columns: ClassVar[StepColumns]
    output_columns: ClassVar[StepColumns]

    @property
    def inputs(self) -> StepColumns:
        """Columns that the prompts use."""
        return type(self).input_columns

    @property
    def outputs(self) -> StepColumns:
        """Columns that the function gives."""
        return type(self).output_columns

    def format_input(self, input: dict[str, Any]) -> ChatType:
        """Both prompts, filled."""
        row = {**dict.fromkeys(self._optional(), ""), **input}
        system, user = (_filled(type(self).prompts[name], row, self._name) for name in _NEEDED)
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]

    @property
    def _name(self) -> str:
        return str(getattr(self, "name", None) or type(self).__name__)

    def _optional(self) -> list[str]:
        """Columns that rows need not have: what is absent stays empty, as in other templates."""
        return [name for name, required in as_requirements(self.inputs).items() if not required]

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the function makes of the answer."""
        function = type(self).function_of_task
        if len(inspect.signature(function).parameters) == 1:
            return function(output)
        return function(output, input)

    def _signature_parts(self) -> Iterator[tuple[str, Any]]:
        yield from super()._signature_parts()
        yield "function", code_digest(type(self).function_of_task)
        yield "prompts", type(self).prompts  # a digest of code leaves docstrings out


def _prompts_of(function: Callable[..., Any], columns: list[str]) -> dict[str, str]:
    import yaml

    name = function.__name__
    if not function.__doc__:
        raise DistilmqUserError(
            f"The function '{name}' decorated with `task` has no docstring: it has to hold `system_prompt` and"
            " `user_message_template` as YAML between two lines of `---`."
        )
    front = _FRONT.search(inspect.cleandoc(function.__doc__))
    if front is None:
        raise DistilmqUserError(
            f"The docstring of '{name}' has no YAML between two lines of `---`, with `system_prompt` and"
            " `user_message_template`."
        )
    try:
        found: Any = yaml.safe_load(front["yaml"])
    except yaml.YAMLError as error:
        raise DistilmqUserError(f"The docstring of '{name}' holds YAML that cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DistilmqUserError(f"The YAML in the docstring of '{name}' is no mapping.")
    prompts = {str(key): str(value) for key, value in cast("dict[Any, Any]", found).items()}
    missing = [key for key in _NEEDED if key not in prompts]
    if missing:
        raise DistilmqUserError(f"The YAML in the docstring of '{name}' lacks {missing}.")
    for key in _NEEDED:
        unknown = [placeholder for placeholder in _placeholders(prompts[key]) if placeholder not in columns]
        if unknown:
            raise DistilmqUserError(
                f"`{key}` in the docstring of '{name}' has placeholders {unknown} that are not inputs of the task."
                f" Inputs are: {columns}."
            )
    return {key: prompts[key] for key in _NEEDED}


def _filled(prompt: str, row: dict[str, Any], step: str) -> str:
    """The prompt with the row's values.

    Prompts hold JSON and code, so single braces stay as they are; in a prompt written for `str.format`, which has
    none but those of placeholders, doubled ones stand for one.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        if found[1] not in row:
            raise DistilmqUserError(
                f"Step '{step}': the row has no column '{found[1]}', which the prompt uses. Rows have {list(row)}. Fill"
                f" the column in a step before, or make it optional: `inputs={{'{found[1]}': False}}`."
            )
        return str(row[found[1]])

    return _pattern(prompt).sub(value, prompt)


def _placeholders(prompt: str) -> list[str]:
    return [found[1] for found in _pattern(prompt).finditer(prompt) if found[1] is not None]


@cache
def _pattern(prompt: str) -> re.Pattern[str]:
    """What is replaced in a prompt; doubled braces too, where no others stand than those of placeholders."""
    return _PLACEHOLDER if set("{}") & set(_BRACES.sub("", prompt)) else _BRACES

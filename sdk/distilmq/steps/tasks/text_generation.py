"""Text that a model generates from columns of a row."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distilmq.errors import DistilmqUserError
from distilmq.steps.tasks.base import Task
from distilmq.steps.tasks.chat_generation import ChatGeneration  # pipelines saved by distilabel look for it here
from distilmq.typing import ChatType, StepColumns
from distilmq.utils.chat import is_openai_format
from distilmq.utils.not_yet import window

# distilabel's path of the class: scripts and saved pipelines name it.
__getattr__, _ = window(__name__, {"ChatGeneration": "distilmq.steps.tasks.chat_generation"})

if TYPE_CHECKING:
    from jinja2 import Template

DEFAULT_COLUMN = "instruction"
DEFAULT_TEMPLATE = "{{ instruction }}"


class TextGeneration(Task):
    """Asks the model about each row by a template.

    Attributes:
        system_prompt: what the model is told first; a row's own `system_prompt` wins over it.
        use_system_prompt: has no effect, accepted for older scripts: a system prompt is used when there is one.
        template: of what the user says, in Jinja2, with the columns as variables.
        columns: names of the columns that the template uses.

    Input columns:
        - dynamic (determined by `columns`): `instruction` by default.
        - system_prompt (`str`, optional): of this row.

    Output columns:
        - generation (`str`): what the model said.
        - model_name (`str`): who said it.

    Examples:
        ```python
        from distilmq.steps.tasks import TextGeneration
        from distilmq.testing import ScriptedLLM

        task = TextGeneration(
            llm=ScriptedLLM(answers=["In Paris."]),
            system_prompt="Answer shortly.",
            template="Where is {{ place }}?",
            columns=["place"],
        )
        task.load()
        [row] = next(task.process([{"place": "the Louvre"}]))
        task.unload()
        assert row["generation"] == "In Paris."
        ```
    """

    system_prompt: str | None = None
    use_system_prompt: bool = Field(
        default=True, description="Has no effect: a system prompt is used when there is one."
    )
    template: str = Field(
        default=DEFAULT_TEMPLATE,
        description="Jinja2 template of what the user says. It uses the names of the `columns`.",
    )
    columns: str | list[str] = Field(
        default=DEFAULT_COLUMN, description="The column, or list of columns, that the template uses."
    )

    def model_post_init(self, context: Any, /) -> None:
        """Checks that the template uses each column, before the task joins its pipeline."""
        if self.template != DEFAULT_TEMPLATE or self._columns() != [DEFAULT_COLUMN]:
            self._check_template()
        super().model_post_init(context)

    def load(self) -> None:
        """Checks the template, which a runtime parameter may have changed."""
        super().load()
        self._check_template()

    @property
    def inputs(self) -> StepColumns:
        """The columns of the template, and optionally `system_prompt`."""
        return {**dict.fromkeys(self._columns(), True), "system_prompt": False}

    @property
    def outputs(self) -> StepColumns:
        """`generation` and `model_name`."""
        return ["generation", "model_name"]

    def format_input(self, input: dict[str, Any]) -> ChatType:
        """The conversation: the system prompt, where there is one, and the filled template."""
        prompt = input.get("system_prompt") or self.system_prompt
        messages: ChatType = [{"role": "system", "content": prompt}] if prompt else []
        return [*messages, {"role": "user", "content": self._filled(input)}]

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        """The text as it is."""
        return {"generation": output}

    def _columns(self) -> list[str]:
        return [self.columns] if isinstance(self.columns, str) else self.columns

    def _filled(self, row: dict[str, Any]) -> str:
        values = {name: row[name] for name in self._columns()}
        if len(values) == 1 and is_openai_format(next(iter(values.values()))):
            raise DistilmqUserError(
                f"Providing `{self._columns()[0]}` formatted as an OpenAI chat / conversation is not possible, you"
                " should use `ChatGeneration` with `messages` as input instead."
            )
        if values and all(value is None for value in values.values()):
            raise DistilmqUserError(f"There is nothing to ask: {' and '.join(map(repr, values))} of this row is None.")
        return _compiled(self.template).render(**values)

    def _check_template(self) -> None:
        from jinja2 import Environment, TemplateSyntaxError, meta

        step = self.name or type(self).__name__
        try:
            used = meta.find_undeclared_variables(Environment(autoescape=False).parse(self.template))
        except TemplateSyntaxError as error:
            raise DistilmqUserError(f"Step '{step}': the `template` cannot be read: {error}") from error
        for column in self._columns():
            if column not in used:
                raise DistilmqUserError(
                    f"Step '{step}': the column '{column}' of `columns` is not present in the `template`, which"
                    f" uses {sorted(used)}. Please, review both."
                )
        for variable in sorted(used - set(self._columns())):
            self._logger.warning(
                "Step '%s': the `template` uses '%s', which is none of its `columns` and stays empty.",
                step,
                variable,
            )


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    from jinja2 import Template

    return Template(template)


__all__ = ["ChatGeneration", "TextGeneration"]

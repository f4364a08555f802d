"""An instruction and its response as a conversation."""

from __future__ import annotations

from distilmq.steps.base import Step, StepInput
from distilmq.steps.formatting.messages import answered, chat
from distilmq.typing import StepColumns, StepOutput


class ConversationTemplate(Step):
    """Makes a conversation of an instruction and its response.

    Input columns:
        - instruction (`str`): what the user says.
        - response (`str`): what the assistant answers.

    Output columns:
        - conversation (`list[dict]`): both as messages.

    Categories:
        - format
        - chat

    Examples:
        Make a conversation:

        ```python
        from distilmq.steps import ConversationTemplate

        template = ConversationTemplate()
        template.load()
        rows = next(template.process([{"instruction": "1 + 1?", "response": "2"}]))
        assert rows[0]["conversation"] == [
            {"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "content": "2"},
        ]
        ```
    """

    @property
    def inputs(self) -> StepColumns:
        """What is said."""
        return ["instruction", "response"]

    @property
    def outputs(self) -> StepColumns:
        """The conversation."""
        return ["conversation"]

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Makes conversations.

        Args:
            inputs: rows.

        Yields:
            The rows with conversations.
        """
        yield [{**row, "conversation": answered(chat(row["instruction"]), row["response"])} for row in inputs]

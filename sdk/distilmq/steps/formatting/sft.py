"""Rows for supervised fine-tuning."""

from __future__ import annotations

from distilmq.steps.base import Step, StepInput
from distilmq.steps.formatting.messages import answered, chat, last_user_message, prompt_id
from distilmq.typing import Row, StepColumns, StepOutput


class FormatTextGenerationSFT(Step):
    """Makes messages of an instruction and what a model generated for it.

    Input columns:
        - system_prompt (`str`, optional): begins the messages.
        - instruction (`str`): what the user says.
        - generation (`str`): what the assistant answers.

    Output columns:
        - prompt (`str`): the instruction.
        - prompt_id (`str`): its SHA-256.
        - messages (`list[dict]`): the conversation.

    Categories:
        - format
        - text-generation
        - sft

    Examples:
        Format a generation:

        ```python
        from distilmq.steps import FormatTextGenerationSFT

        format_sft = FormatTextGenerationSFT()
        format_sft.load()
        rows = next(format_sft.process([{"instruction": "1 + 1?", "generation": "2"}]))
        assert [message["content"] for message in rows[0]["messages"]] == ["1 + 1?", "2"]
        ```
    """

    @property
    def inputs(self) -> StepColumns:
        """What is said."""
        return {"instruction": True, "generation": True, "system_prompt": False}

    @property
    def outputs(self) -> StepColumns:
        """The conversation and what names it."""
        return ["prompt", "prompt_id", "messages"]

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Formats rows.

        Args:
            inputs: rows.

        Yields:
            The rows with messages.
        """
        yield [_text(row) for row in inputs]


class FormatChatGenerationSFT(Step):
    """Adds what a model generated to the messages it was given.

    Input columns:
        - messages (`list[dict]`): the conversation so far.
        - generation (`str`): what the assistant answers.

    Output columns:
        - prompt (`str`): what the user said last.
        - prompt_id (`str`): its SHA-256.
        - messages (`list[dict]`): the conversation with the answer.

    Categories:
        - format
        - chat-generation
        - sft

    Examples:
        Format a generation:

        ```python
        from distilmq.steps import FormatChatGenerationSFT

        format_sft = FormatChatGenerationSFT()
        format_sft.load()
        rows = next(format_sft.process([{"messages": [{"role": "user", "content": "1 + 1?"}], "generation": "2"}]))
        assert rows[0]["prompt"] == "1 + 1?" and rows[0]["messages"][-1]["content"] == "2"
        ```
    """

    @property
    def inputs(self) -> StepColumns:
        """What is said."""
        return ["messages", "generation"]

    @property
    def outputs(self) -> StepColumns:
        """The conversation and what names it."""
        return ["prompt", "prompt_id", "messages"]

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Formats rows.

        Args:
            inputs: rows.

        Yields:
            The rows with one more message.
        """
        yield [_chat(row) for row in inputs]


def _text(row: Row) -> Row:
    messages = answered(chat(row["instruction"], row.get("system_prompt")), row["generation"])
    return {**row, "prompt": row["instruction"], "prompt_id": prompt_id(row["instruction"]), "messages": messages}


def _chat(row: Row) -> Row:
    prompt = last_user_message(row)
    messages = answered(row["messages"], row["generation"])
    return {**row, "prompt": prompt, "prompt_id": prompt_id(prompt), "messages": messages}

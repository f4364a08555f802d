"""The next message of a conversation."""

from __future__ import annotations

from typing import Any

from distilmq.errors import DistilmqUserError
from distilmq.steps.tasks.base import Task
from distilmq.typing import ChatType, StepColumns
from distilmq.utils.chat import is_openai_format


class ChatGeneration(Task):
    """Lets the model continue a conversation.

    Input columns:
        - messages (`list[dict[str, Any]]`): the conversation, in OpenAI's format; the user has the last word.

    Output columns:
        - generation (`str`): what the model said.
        - model_name (`str`): who said it.

    Examples:
        ```python
        from distilmq.steps.tasks import ChatGeneration
        from distilmq.testing import ScriptedLLM

        task = ChatGeneration(llm=ScriptedLLM(answers=["Four."]))
        task.load()
        [row] = next(task.process([{"messages": [{"role": "user", "content": "How much is 2 + 2?"}]}]))
        task.unload()
        assert row["generation"] == "Four."
        ```
    """

    @property
    def inputs(self) -> StepColumns:
        """`messages`."""
        return ["messages"]

    @property
    def outputs(self) -> StepColumns:
        """`generation` and `model_name`."""
        return ["generation", "model_name"]

    def format_input(self, input: dict[str, Any]) -> ChatType:
        """The conversation as it is.

        Raises:
            DistilmqUserError: it is none, or the user does not have the last word.
        """
        messages = input["messages"]
        if not is_openai_format(messages):
            raise DistilmqUserError(
                "Input `messages` must be an OpenAI chat-like format conversation: a list of dicts with `role` and"
                f" `content`. Got: {str(messages)[:200]}"
            )
        if messages[-1]["role"] != "user":
            raise DistilmqUserError(
                "The last message of `messages` must be from the user, since it is what the model answers. Got one"
                f" from: '{messages[-1]['role']}'."
            )
        return messages

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        """The text as it is."""
        return {"generation": output}

    def get_sample_input(self) -> dict[str, Any]:
        """A conversation of one message, for `print`."""
        return {"messages": [{"role": "user", "content": "<PLACEHOLDER_MESSAGES>"}]}

"""Rows for direct preference optimization: the best generation against the worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distilmq.steps.base import Step, StepInput
from distilmq.steps.formatting.messages import answered, chat, last_user_message, prompt_id
from distilmq.typing import Row, StepColumns, StepOutput

_OUTPUTS = [
    "prompt",
    "prompt_id",
    "chosen",
    "chosen_model",
    "chosen_rating",
    "rejected",
    "rejected_model",
    "rejected_rating",
]


class FormatTextGenerationDPO(Step):
    """Chooses the generation with the highest rating, and rejects the one with the lowest.

    Of equal ratings the first is chosen and the last rejected. Generations without a rating do not take part; a
    row without two rated ones fails.

    Input columns:
        - system_prompt (`str`, optional): begins the messages.
        - instruction (`str`): what the user says.
        - generations (`list[str]`): what models answered.
        - generation_models (`list[str]`, optional): which models these were.
        - ratings (`list[float]`): how good each answer is.

    Output columns:
        - prompt (`str`): the instruction.
        - prompt_id (`str`): its SHA-256.
        - chosen (`list[dict]`): the conversation with the best answer.
        - chosen_model (`str`): who gave it.
        - chosen_rating (`float`): its rating.
        - rejected (`list[dict]`): the conversation with the worst answer.
        - rejected_model (`str`): who gave it.
        - rejected_rating (`float`): its rating.

    Categories:
        - format
        - text-generation
        - preference
        - dpo

    Examples:
        Choose the better of two answers:

        ```python
        from distilmq.steps import FormatTextGenerationDPO

        format_dpo = FormatTextGenerationDPO()
        format_dpo.load()
        row = {"instruction": "1 + 1?", "generations": ["3", "2"], "ratings": [1, 5]}
        rows = next(format_dpo.process([row]))
        assert rows[0]["chosen"][-1]["content"] == "2" and rows[0]["rejected_rating"] == 1
        ```
    """

    @property
    def inputs(self) -> StepColumns:
        """What is said, and how good it is."""
        return {
            "instruction": True,
            "generations": True,
            "ratings": True,
            "system_prompt": False,
            "generation_models": False,
        }

    @property
    def outputs(self) -> StepColumns:
        """The pair."""
        return _OUTPUTS

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Formats rows.

        Args:
            inputs: rows.

        Yields:
            The rows with a pair each.
        """
        yield [_pair(row, row["instruction"], chat(row["instruction"], row.get("system_prompt"))) for row in inputs]


class FormatChatGenerationDPO(Step):
    """As `FormatTextGenerationDPO`, for answers to a conversation.

    Input columns:
        - messages (`list[dict]`): the conversation so far.
        - generations (`list[str]`): what models answered.
        - generation_models (`list[str]`, optional): which models these were.
        - ratings (`list[float]`): how good each answer is.

    Output columns:
        - prompt (`str`): what the user said last.
        - prompt_id (`str`): its SHA-256.
        - chosen (`list[dict]`): the conversation with the best answer.
        - chosen_model (`str`): who gave it.
        - chosen_rating (`float`): its rating.
        - rejected (`list[dict]`): the conversation with the worst answer.
        - rejected_model (`str`): who gave it.
        - rejected_rating (`float`): its rating.

    Categories:
        - format
        - chat-generation
        - preference
        - dpo

    Examples:
        Choose the better of two answers:

        ```python
        from distilmq.steps import FormatChatGenerationDPO

        format_dpo = FormatChatGenerationDPO()
        format_dpo.load()
        row = {"messages": [{"role": "user", "content": "1 + 1?"}], "generations": ["3", "2"], "ratings": [1, 5]}
        rows = next(format_dpo.process([row]))
        assert rows[0]["prompt"] == "1 + 1?" and rows[0]["chosen_rating"] == 5
        ```
    """

    @property
    def inputs(self) -> StepColumns:
        """What is said, and how good it is."""
        return {"messages": True, "generations": True, "ratings": True, "generation_models": False}

    @property
    def outputs(self) -> StepColumns:
        """The pair."""
        return _OUTPUTS

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Formats rows.

        Args:
            inputs: rows.

        Yields:
            The rows with a pair each.
        """
        yield [_pair(row, last_user_message(row), row["messages"]) for row in inputs]


def _pair(row: Row, prompt: str, messages: list[dict[str, Any]]) -> Row:
    generations, ratings = row["generations"], row["ratings"]
    models: Sequence[str | None] = row.get("generation_models") or [None] * len(generations)
    best, worst = _extremes(ratings)
    return {
        **row,
        "prompt": prompt,
        "prompt_id": prompt_id(prompt),
        "chosen": answered(messages, generations[best]),
        "chosen_model": models[best],
        "chosen_rating": ratings[best],
        "rejected": answered(messages, generations[worst]),
        "rejected_model": models[worst],
        "rejected_rating": ratings[worst],
    }


def _extremes(ratings: Sequence[float | None]) -> tuple[int, int]:
    """Places of the first highest and the last lowest rating."""
    rated = [(rating, place) for place, rating in enumerate(ratings) if rating is not None]
    if len(rated) < 2:
        raise ValueError(f"a pair needs two ratings, this row has {len(rated)}")
    best = max(rated, key=lambda item: (item[0], -item[1]))[1]
    worst = min(rated, key=lambda item: (item[0], -item[1]))[1]
    return best, worst

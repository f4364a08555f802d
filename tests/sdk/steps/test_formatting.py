"""Rows are brought into the shape that a kind of training takes."""

from __future__ import annotations

import hashlib

import pytest

from distilmq.steps import (
    ConversationTemplate,
    FormatChatGenerationDPO,
    FormatChatGenerationSFT,
    FormatTextGenerationDPO,
    FormatTextGenerationSFT,
    TruncateTextColumn,
)

USER = {"role": "user", "content": "1 + 1?"}
SYSTEM = {"role": "system", "content": "Be brief."}
ID = hashlib.sha256(b"1 + 1?").hexdigest()


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def test_a_conversation_is_made_of_instruction_and_response() -> None:
    rows = next(ConversationTemplate().process([{"instruction": "1 + 1?", "response": "2"}]))

    assert rows == [{"instruction": "1 + 1?", "response": "2", "conversation": [USER, assistant("2")]}]


@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
def test_a_text_is_formatted_for_fine_tuning(system_prompt: str | None) -> None:
    row = {"instruction": "1 + 1?", "generation": "2", "system_prompt": system_prompt}

    rows = next(FormatTextGenerationSFT().process([row]))

    messages = [*([SYSTEM] if system_prompt else []), USER, assistant("2")]
    assert rows == [{**row, "prompt": "1 + 1?", "prompt_id": ID, "messages": messages}]


def test_a_chat_is_formatted_for_fine_tuning() -> None:
    row = {"messages": [SYSTEM, assistant("Hello."), USER], "generation": "2"}

    rows = next(FormatChatGenerationSFT().process([row]))

    assert rows == [{**row, "prompt": "1 + 1?", "prompt_id": ID, "messages": [*row["messages"], assistant("2")]}]


def test_the_best_answer_is_chosen_and_the_worst_rejected() -> None:
    row = {
        "instruction": "1 + 1?",
        "generations": ["3", "2", None, "two"],
        "generation_models": ["w", "x", "y", "z"],
        "ratings": [1, 5, None, 5],
    }

    rows = next(FormatTextGenerationDPO().process([row]))

    assert rows == [
        {
            **row,
            "prompt": "1 + 1?",
            "prompt_id": ID,
            "chosen": [USER, assistant("2")],
            "chosen_model": "x",
            "chosen_rating": 5,
            "rejected": [USER, assistant("3")],
            "rejected_model": "w",
            "rejected_rating": 1,
        }
    ]


def test_a_pair_of_answers_to_a_chat() -> None:
    row = {"messages": [SYSTEM, USER], "generations": ["3", "2"], "ratings": [2.5, 2.5]}

    pair = next(FormatChatGenerationDPO().process([row]))[0]

    assert (pair["chosen"], pair["rejected"]) == ([SYSTEM, USER, assistant("3")], [SYSTEM, USER, assistant("2")])
    assert (pair["prompt"], pair["chosen_model"]) == ("1 + 1?", None)


def test_a_row_without_two_ratings_fails() -> None:
    row = {"instruction": "1 + 1?", "generations": ["3", "2"], "ratings": [None, 2]}

    with pytest.raises(ValueError, match="a pair needs two ratings, this row has 1"):
        next(FormatTextGenerationDPO().process([row]))


def test_texts_are_cut() -> None:
    step = TruncateTextColumn(column="a", max_length=2)
    step.load()

    assert next(step.process([{"a": "abc", "text": "abc"}, {"a": "x", "text": "y"}])) == [
        {"a": "ab", "text": "abc"},
        {"a": "x", "text": "y"},
    ]


def test_a_text_that_failed_before_is_passed_on() -> None:
    step = TruncateTextColumn(column="a", max_length=2)
    step.load()

    assert next(step.process([{"a": None}, {"a": "abc"}])) == [{"a": None}, {"a": "ab"}]

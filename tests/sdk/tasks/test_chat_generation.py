"""`ChatGeneration`: the next message of a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.steps.tasks import ChatGeneration
from distilmq.testing import ScriptedLLM


def test_it_continues_a_conversation() -> None:
    task = ChatGeneration(name="chat", llm=ScriptedLLM(answers=["Four."]))
    messages = [{"role": "system", "content": "Count."}, {"role": "user", "content": "2 + 2?"}]
    task.load()

    [row] = next(task.process([{"messages": messages}]))

    task.unload()
    assert (row["generation"], row["model_name"]) == ("Four.", "scripted")
    assert row["distilmq_metadata"]["raw_input_chat"] == messages


def test_the_user_has_the_last_word() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]

    with pytest.raises(DistilmqUserError, match=r"must be from the user.*'assistant'"):
        ChatGeneration(llm=ScriptedLLM()).format_input({"messages": messages})


@pytest.mark.parametrize("messages", ["Hi", [], [{"text": "Hi"}], None])
def test_what_is_no_conversation_is_refused(messages: Any) -> None:
    with pytest.raises(DistilmqUserError, match="must be an OpenAI chat-like format"):
        ChatGeneration(llm=ScriptedLLM()).format_input({"messages": messages})


def test_print_shows_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    ChatGeneration(llm=ScriptedLLM()).print()

    assert "<PLACEHOLDER_MESSAGES>" in capsys.readouterr().out

"""`TextGeneration`: prompts from columns by a template."""

from __future__ import annotations

import logging
from typing import Any

import cloudpickle
import pytest

from distilmq.errors import RowsFailedError
from distilmq.steps.tasks import TextGeneration
from distilmq.testing import ScriptedLLM


def asked(task: TextGeneration, **row: Any) -> Any:
    return task.format_input(row)


def test_by_default_the_instruction_is_what_the_user_says() -> None:
    task = TextGeneration(llm=ScriptedLLM())

    assert asked(task, instruction="Sing.") == [{"role": "user", "content": "Sing."}]
    assert task.inputs == {"instruction": True, "system_prompt": False}
    assert task.outputs == ["generation", "model_name"]


def test_the_template_is_filled_with_columns() -> None:
    task = TextGeneration(
        llm=ScriptedLLM(),
        template="{{ city }}: {% for sight in sights %}{{ loop.index }}. {{ sight }} {% endfor %}",
        columns=["city", "sights"],
    )

    [message] = asked(task, city="Paris", sights=["Louvre", "Orsay"])

    assert message["content"] == "Paris: 1. Louvre 2. Orsay "


def test_one_column_may_be_given_by_its_name() -> None:
    task = TextGeneration(llm=ScriptedLLM(), template="Sum up: {{ text }}", columns="text")

    assert asked(task, text="long")[0]["content"] == "Sum up: long"
    assert task.inputs == {"text": True, "system_prompt": False}


def test_a_rows_system_prompt_wins_over_the_tasks() -> None:
    task = TextGeneration(llm=ScriptedLLM(), system_prompt="Be brief.")

    assert asked(task, instruction="a")[0] == {"role": "system", "content": "Be brief."}
    assert asked(task, instruction="a", system_prompt="Be long.")[0]["content"] == "Be long."
    assert asked(task, instruction="a", system_prompt=None)[0]["content"] == "Be brief."


def test_a_column_that_the_template_does_not_use_is_refused() -> None:
    with pytest.raises(ValueError, match="the column 'country' of `columns` is not present in the `template`"):
        TextGeneration(llm=ScriptedLLM(), template="{{ city }}", columns=["city", "country"])


def test_a_template_without_its_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"which uses \['city'\]"):
        TextGeneration(llm=ScriptedLLM(), template="{{ city }}")


def test_a_variable_that_is_no_column_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        TextGeneration(name="t", llm=ScriptedLLM(), template="{{ instruction }} {{ context }}")

    assert "'context'" in caplog.text


def test_a_template_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        TextGeneration(llm=ScriptedLLM(), template="{{ instruction ")


def test_nothing_is_asked_for_a_row_without_an_instruction() -> None:
    llm = ScriptedLLM()
    task = TextGeneration(llm=llm, template="{% if a %}{{ a }}{% endif %}{{ b }}", columns=["a", "b"])
    task.load()

    with pytest.raises(RowsFailedError, match="'a' and 'b' of this row is None"):
        list(task.process([{"a": None, "b": "Hi"}, {"a": None, "b": None}]))
    assert [len(rows) for rows in task.process([{"a": None, "b": "Hi"}])] == [1]

    task.unload()


def test_a_conversation_is_not_an_instruction() -> None:
    task = TextGeneration(llm=ScriptedLLM())
    chat = [{"role": "user", "content": "Hi"}]
    task.load()

    with pytest.raises(RowsFailedError, match="use `ChatGeneration` with `messages`"):
        next(task.process([{"instruction": chat}, {"instruction": "a"}]))

    task.unload()


def test_a_task_that_is_loaded_can_be_pickled() -> None:
    task = TextGeneration(llm=ScriptedLLM(), template="{{ a }}!", columns="a")
    task.load()
    next(task.process([{"a": "x"}]))

    copy = cloudpickle.loads(cloudpickle.dumps(task))

    task.unload()
    assert asked(copy, a="y")[0]["content"] == "y!"


def test_print_shows_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    task = TextGeneration(
        name="t", llm=ScriptedLLM(), system_prompt="Be brief.", template="To {{ city }}", columns="city"
    )

    task.print()
    task.print({"city": "Paris"})

    shown = capsys.readouterr().out
    assert "To <PLACEHOLDER_CITY>" in shown
    assert "To Paris" in shown
    assert "Be brief." in shown

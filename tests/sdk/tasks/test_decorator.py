"""`@task`: a task made of a function whose docstring holds the prompts."""

from __future__ import annotations

from typing import Any

import cloudpickle
import pytest

from distilmq.errors import DistilmqUserError
from distilmq.steps.tasks import Task, task
from distilmq.testing import ScriptedLLM


@task(inputs=["topic", "level"], outputs=["question"])
def Ask(output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
    """Asks about a topic.

    ---
    system_prompt: |
        You write questions for {level} students.
    user_message_template: |
        Write one question about {topic}, as {"question": "..."}.
    ---
    """
    return {"question": output}


def test_it_makes_a_class_of_task() -> None:
    made = Ask(llm=ScriptedLLM())

    assert isinstance(made, Task)
    assert type(made).__name__ == "Ask"
    assert (made.inputs, made.outputs) == (["topic", "level"], ["question"])


def test_the_prompts_are_filled_and_other_braces_left_alone() -> None:
    made = Ask(llm=ScriptedLLM())

    assert made.format_input({"topic": "bees", "level": "young"}) == [
        {"role": "system", "content": "You write questions for young students.\n"},
        {"role": "user", "content": 'Write one question about bees, as {"question": "..."}.\n'},
    ]


@pytest.mark.parametrize(
    ("prompt", "filled"),
    [
        ('{a} as {{"x": {{"y": 1}}}}', '1 as {"x": {"y": 1}}'),
        ("{{{a}}}", "{1}"),
        ("{{a}}", "{a}"),
        ('{a} as {"x": {"y": 1}}', '1 as {"x": {"y": 1}}'),
        ("{a} and {{b}} in {}", "1 and {{b}} in {}"),
        ("}{ {a}", "}{ 1"),
    ],
)
def test_braces_may_be_doubled_or_not(prompt: str, filled: str) -> None:
    def function(output: str | None) -> dict[str, Any]:
        return {"b": output}

    function.__doc__ = f"---\nsystem_prompt: x\nuser_message_template: '{prompt}'\n---"
    made = task(inputs=["a"], outputs=["b"])(function)(llm=ScriptedLLM())

    assert made.format_input({"a": 1})[1]["content"] == filled


def test_a_decorator_without_parentheses_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match="`@task` above 'nothing' lacks its parentheses"):
        task(nothing)  # type: ignore[arg-type]


def test_values_with_braces_are_not_filled_again() -> None:
    [_, user] = Ask(llm=ScriptedLLM()).format_input({"topic": "{level}", "level": "x"})

    assert "about {level}," in user["content"]


def test_rows_come_out_with_what_the_function_gives() -> None:
    made = Ask(name="ask", llm=ScriptedLLM(answers=["Why?"]))
    made.load()

    [row] = next(made.process([{"topic": "bees", "level": "young"}]))

    made.unload()
    assert (row["question"], row["model_name"]) == ("Why?", "scripted")


def test_a_function_may_take_the_answer_only() -> None:
    @task(inputs=["a"], outputs=["b"])
    def Short(output: str | None) -> dict[str, Any]:
        """
        ---
        system_prompt: You are short.
        user_message_template: "{a}"
        ---
        """
        return {"b": output}

    assert Short(llm=ScriptedLLM()).format_output("x", {}) == {"b": "x"}


def test_it_travels_by_pickle() -> None:
    made = cloudpickle.loads(cloudpickle.dumps(Ask(name="ask", llm=ScriptedLLM(answers=["Why?"]))))

    assert made.format_output("x") == {"question": "x"}


def test_other_prompts_are_another_signature() -> None:
    def made(prompt: str) -> Task:
        def function(output: str | None) -> dict[str, Any]:
            return {"b": output}

        function.__doc__ = f"---\nsystem_prompt: x\nuser_message_template: '{prompt}'\n---"
        return task(inputs=["a"], outputs=["b"])(function)(name="t", llm=ScriptedLLM())

    assert made("{a}").signature == made("{a}").signature
    assert made("{a}").signature != made("{a}!").signature


def nothing(output: str | None) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("doc", "words"),
    [
        (None, "has no docstring"),
        ("Only words.", "has no YAML between two lines of `---`"),
        ("---\n: : :\n---", "cannot be read"),
        ("---\n- a\n---", "is no mapping"),
        ("---\nsystem_prompt: a\n---", r"lacks \['user_message_template'\]"),
        ("---\nsystem_prompt: a\nuser_message_template: '{b}'\n---", r"placeholders \['b'\]"),
        ("---\nsystem_prompt: a\nuser_message_template: '{{{b}}}'\n---", r"placeholders \['b'\]"),
    ],
)
def test_a_docstring_without_prompts_is_refused(doc: str | None, words: str) -> None:
    def function(output: str | None) -> dict[str, Any]:
        return {}

    function.__doc__ = doc

    with pytest.raises(DistilmqUserError, match=words):
        task(inputs=["a"])(function)


@task(inputs={"topic": True, "hint": False}, outputs=["question"])
def Hinted(output: str | None) -> dict[str, Any]:
    """
    ---
    system_prompt: You write questions.
    user_message_template: About {topic}. {hint}
    ---
    """
    return {"question": output}


def test_an_optional_column_that_is_absent_stays_empty() -> None:
    made = Hinted(llm=ScriptedLLM())

    assert made.format_input({"topic": "bees"})[1]["content"] == "About bees. "
    assert made.format_input({"topic": "bees", "hint": "Short."})[1]["content"] == "About bees. Short."


def test_a_needed_column_that_a_row_lacks_is_named_with_the_fix() -> None:
    made = Hinted(name="hinted", llm=ScriptedLLM())

    with pytest.raises(DistilmqUserError, match=r"Step 'hinted': the row has no column 'topic'.*'topic': False"):
        made.format_input({"hint": "Short."})

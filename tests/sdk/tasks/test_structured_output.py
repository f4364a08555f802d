"""Tasks that ask for answers of a shape: the task's own, or one of each row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from distilmq.errors import DistilmqUserError, InvalidAnswerError, RowsFailedError
from distilmq.models import OpenAILLM, TransformersLLM
from distilmq.protocol.rows import decode_row, encode_row
from distilmq.steps.tasks import Task
from distilmq.testing import ScriptedLLM
from distilmq.typing import StepColumns
from tests.servers.providers import ProviderServer

Row = dict[str, Any]


class Person(BaseModel):
    name: str


class WhoIs(Task):
    """Asks for a person."""

    @property
    def inputs(self) -> StepColumns:
        return ["question"]

    @property
    def outputs(self) -> StepColumns:
        return ["who", "model_name"]

    def get_structured_output(self) -> type[BaseModel]:
        return Person

    def format_input(self, input: Row) -> Any:
        return [{"role": "user", "content": input["question"]}]

    def format_output(self, output: str | None, input: Row | None = None) -> Row:
        return {"who": json.loads(output or "")["name"]}


class InTheShapeOfTheRow(WhoIs):
    """Asks for whatever the row says."""

    def format_input(self, input: Row) -> Any:
        return super().format_input(input), {"schema": input["shape"]} if input["shape"] else None

    def format_output(self, output: str | None, input: Row | None = None) -> Row:
        return {"who": output}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        for name, value in running.env(tmp_path).items():
            monkeypatch.setenv(name, value)
        running.says = lambda prompt: "Ada" if prompt in ("odd", "bad") else '{"name": "Ada"}'
        yield running


def rows_of(task: Task, *rows: Row) -> list[Row]:
    task.load()
    try:
        return [row for given in task.process(list(rows)) for row in given]
    finally:
        task.unload()


def test_a_tasks_own_shape_is_asked_for_and_kept_to(server: ProviderServer) -> None:
    task = WhoIs(name="who", llm=OpenAILLM(model="m"), use_default_structured_output=True)

    rows = rows_of(task, {"question": "one"}, {"question": "odd"})

    assert [row["who"] for row in rows] == ["Ada", "Ada"]
    assert len(server.asked) == 3
    shapes = [asked.body["response_format"]["json_schema"]["schema"] for asked in server.asked]
    assert shapes == [Person.model_json_schema()] * 3


def test_the_models_own_shape_wins_over_the_tasks(server: ProviderServer) -> None:
    server.says = lambda prompt: '{"name": "Ada", "age": 36}'
    own = {"type": "object", "required": ["age"]}
    llm = OpenAILLM(model="m", structured_output={"schema": own})

    rows_of(WhoIs(name="who", llm=llm, use_default_structured_output=True), {"question": "one"})

    assert server.asked[0].body["response_format"]["json_schema"]["schema"] == own


def test_a_row_whose_answer_never_has_the_shape_fails_alone(server: ProviderServer) -> None:
    server.says = lambda prompt: '{"name": "Ada"}' if prompt == "one" else "Ada"
    task = WhoIs(name="who", llm=OpenAILLM(model="m"), use_default_structured_output=True)

    with pytest.raises(RowsFailedError) as caught:
        rows_of(task, {"question": "one"}, {"question": "bad"})

    [(place, error)] = caught.value.failures.items()
    assert place == 1
    assert isinstance(error, InvalidAnswerError)
    assert (error.answer, error.attempts) == ("Ada", 3)


def test_each_row_may_have_a_shape_of_its_own_which_its_metadata_keeps_as_json(server: ProviderServer) -> None:
    task = InTheShapeOfTheRow(name="who", llm=OpenAILLM(model="m"))

    rows = rows_of(task, {"question": "one", "shape": Person}, {"question": "odd", "shape": None})

    assert [row["who"] for row in rows] == ['{"name": "Ada"}', "Ada"]
    _, shape = rows[0]["distilmq_metadata"]["raw_input_who"]
    assert shape == {"format": "json", "schema": Person.model_json_schema()}
    del rows[0]["shape"]
    assert decode_row(encode_row(rows[0])) == rows[0]


def test_a_row_whose_shape_cannot_be_read_fails_alone(server: ProviderServer) -> None:
    task = InTheShapeOfTheRow(name="who", llm=OpenAILLM(model="m"))

    with pytest.raises(RowsFailedError) as caught:
        rows_of(
            task,
            {"question": "one", "shape": Person},
            {"question": "two", "shape": "no JSON"},
            {"question": "three", "shape": {"type": "strin"}},
        )

    assert {place: type(error) for place, error in caught.value.failures.items()} == {
        1: DistilmqUserError,
        2: DistilmqUserError,
    }
    assert server.prompts == ["one"]


def test_a_model_that_shapes_no_answers_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Unshaped(ScriptedLLM):
        structured_output: dict[str, Any] | None = None

        @property
        def shapes_answers(self) -> bool:
            return False

    task = WhoIs(name="who", llm=Unshaped(), use_default_structured_output=True)
    task.load()
    task.unload()

    assert "`Unshaped` does not support: it is not used" in caplog.text
    assert not TransformersLLM(model="m").shapes_answers

"""What a task does with its model's answers, with failed rows and with failures of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distilmq.errors import InvalidRequestError, RowsFailedError, StepFatalError
from distilmq.models import LLM
from distilmq.steps.remarks import Remarks, current_remarks
from distilmq.steps.tasks import GeneratorTask, GlobalTask, Task, TextGeneration
from distilmq.testing import ScriptedLLM, requests_in
from distilmq.typing import GeneratorStepOutput, StepColumns

Row = dict[str, Any]


class Count(Task):
    """Asks for a number."""

    @property
    def inputs(self) -> StepColumns:
        return ["question"]

    @property
    def outputs(self) -> StepColumns:
        return ["number", "model_name"]

    def format_input(self, input: Row) -> Any:
        return [{"role": "user", "content": input["question"]}]

    def format_output(self, output: str | None, input: Row | None = None) -> Row:
        return {"number": int(output or "")}


@contextmanager
def loaded(task: Task) -> Iterator[Task]:
    task.load()
    try:
        yield task
    finally:
        task.unload()


def rows_of(task: Task, *rows: Row) -> list[Row]:
    with loaded(task):
        return [row for given in task.process(list(rows)) for row in given]


def metadata(row: Row) -> Row:
    return row["distilmq_metadata"]


def test_a_row_comes_out_with_columns_model_and_metadata() -> None:
    [row] = rows_of(Count(name="count", llm=ScriptedLLM(answers=["4"])), {"question": "2 + 2?", "id": 7})

    assert row == {
        "question": "2 + 2?",
        "id": 7,
        "number": 4,
        "model_name": "scripted",
        "distilmq_metadata": {
            "raw_output_count": "4",
            "raw_input_count": [{"role": "user", "content": "2 + 2?"}],
            "statistics_count": {"input_tokens": 3, "output_tokens": 1},
        },
    }


def test_metadata_of_steps_before_is_kept() -> None:
    row: Row = {"question": "a", "distilmq_metadata": {"raw_output_before": "x"}}

    [came] = rows_of(Count(name="count", llm=ScriptedLLM(answers=["1"])), row)

    assert metadata(came)["raw_output_before"] == "x"
    assert row == {"question": "a", "distilmq_metadata": {"raw_output_before": "x"}}


def test_raw_input_and_output_can_be_left_out() -> None:
    task = Count(name="count", llm=ScriptedLLM(answers=["1"]), add_raw_input=False, add_raw_output=False)

    [row] = rows_of(task, {"question": "a"})

    assert list(metadata(row)) == ["statistics_count"]


def test_several_generations_are_rows_behind_each_other() -> None:
    task = Count(name="count", llm=ScriptedLLM(answers=["1", "2", "3", "4"]), num_generations=2)

    rows = rows_of(task, {"question": "a"}, {"question": "b"})

    assert [row["question"] for row in rows] == ["a", "a", "b", "b"]
    assert {row["number"] for row in rows} == {1, 2, 3, 4}


def test_grouped_generations_are_lists_in_one_row() -> None:
    task = Count(name="count", llm=ScriptedLLM(answers=["1", "2"]), num_generations=2, group_generations=True)

    [row] = rows_of(task, {"question": "a b"})

    assert (row["number"], row["model_name"]) == ([1, 2], "scripted")
    assert metadata(row) == {
        "raw_output_count": ["1", "2"],
        "raw_input_count": [{"role": "user", "content": "a b"}],
        "statistics_count": {"input_tokens": [2, 2], "output_tokens": [1, 1]},
    }


def test_an_answer_that_cannot_be_read_is_none_with_the_raw_text_kept(caplog: pytest.LogCaptureFixture) -> None:
    task = Count(name="count", llm=ScriptedLLM(answers=lambda text: "no number" if text == "b" else "1"))

    with caplog.at_level(logging.WARNING):
        rows = rows_of(task, {"question": "a"}, {"question": "b"})

    assert [row["number"] for row in rows] == [1, None]
    assert metadata(rows[1])["raw_output_count"] == "no number"
    assert rows[1]["model_name"] == "scripted"
    assert "Task 'count' failed to format output: ValueError" in caplog.text


def test_a_row_that_failed_before_is_passed_on_and_no_model_is_asked(tmp_path: Path) -> None:
    llm = ScriptedLLM(answers=["1"], counter=tmp_path / "requests")
    failed = {"question": "a", "distilmq_metadata": {"error_before": "ValueError: no"}}

    rows = rows_of(Count(name="count", llm=llm), failed, {"question": "b"})

    assert rows[0] == {**failed, "number": None, "model_name": None}
    assert rows[1]["number"] == 1
    assert requests_in(tmp_path / "requests") == ["b"]


def test_a_row_of_a_dataset_whose_other_rows_failed_is_no_failed_row() -> None:
    row: Row = {"question": "a", "distilmq_metadata": {"error_before": None}}

    [came] = rows_of(Count(name="count", llm=ScriptedLLM(answers=["1"])), row)

    assert came["number"] == 1


def test_when_all_rows_failed_before_the_model_is_not_asked(tmp_path: Path) -> None:
    llm = ScriptedLLM(counter=tmp_path / "requests")

    rows_of(Count(name="count", llm=llm), {"distilmq_metadata": {"error_before": "no"}})

    assert requests_in(tmp_path / "requests") == []


def test_no_rows_give_no_rows() -> None:
    assert rows_of(Count(name="count", llm=ScriptedLLM())) == []


def test_rows_that_fail_are_named_by_their_places(tmp_path: Path) -> None:
    llm = ScriptedLLM(answers=["1"], fail_on=["bad"], counter=tmp_path / "requests")
    rows: list[Row] = [
        {"question": "a", "distilmq_metadata": {"error_before": "no"}},
        {"question": "b"},
        {"question": "bad"},
        {"no question": 1},
        {"question": "e"},
    ]

    with pytest.raises(RowsFailedError) as caught:
        rows_of(Count(name="count", llm=llm), *rows)

    kinds = {place: type(error) for place, error in caught.value.failures.items()}
    assert kinds == {2: InvalidRequestError, 3: KeyError}
    assert sorted(requests_in(tmp_path / "requests")) == ["b", "bad", "e"]


def test_a_single_row_raises_its_own_error() -> None:
    with pytest.raises(InvalidRequestError):
        rows_of(Count(name="count", llm=ScriptedLLM(fail_on=["bad"])), {"question": "bad"})


def test_what_no_request_survives_passes_through() -> None:
    with pytest.raises(StepFatalError):
        rows_of(Count(name="count", llm=ScriptedLLM(refuse_on=["a"])), {"question": "a"}, {"question": "b"})


def test_a_model_that_answers_all_or_none_raises_as_it_is() -> None:
    class AllOrNone(LLM):
        @property
        def model_name(self) -> str:
            return "all or none"

        def generate(self, inputs: list[Any], num_generations: int = 1) -> Any:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        rows_of(Count(name="count", llm=AllOrNone()), {"question": "a"}, {"question": "b"})


def test_what_else_a_model_gives_becomes_columns() -> None:
    class Telling(ScriptedLLM):
        async def agenerate(self, input: Any, num_generations: int = 1) -> Any:
            output = await super().agenerate(input, num_generations)
            return {**output, "logprobs": [[{"token": "1", "logprob": -0.1}]] * num_generations}

    [row] = rows_of(Count(name="count", llm=Telling(answers=["1"])), {"question": "a"})

    assert row["llm_count_logprobs"] == [{"token": "1", "logprob": -0.1}]


def test_generation_arguments_reach_the_model() -> None:
    llm = ScriptedLLM(answers=["1 2 3"], generation_kwargs={"max_new_tokens": 1})

    [row] = rows_of(Count(name="count", llm=llm), {"question": "a"})

    assert row["number"] == 1


def test_a_tasks_own_schema_is_asked_for() -> None:
    class Shaped(ScriptedLLM):
        structured_output: dict[str, Any] | None = None

    class CountInJson(Count):
        def get_structured_output(self) -> dict[str, Any]:
            return {"schema": {"type": "integer"}}

    task = CountInJson(name="count", llm=Shaped(answers=["1"]), use_default_structured_output=True)

    rows_of(task, {"question": "a"})

    assert task.llm.structured_output == {"format": "json", "schema": {"type": "integer"}}  # type: ignore[attr-defined]  # declared above


def test_a_model_that_cannot_shape_its_answers_is_asked_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    class CountInJson(Count):
        def get_structured_output(self) -> dict[str, Any]:
            return {"schema": {"type": "integer"}}

    task = CountInJson(name="count", llm=ScriptedLLM(answers=["1"]), use_default_structured_output=True)

    [row] = rows_of(task, {"question": "a"})

    assert row["number"] == 1
    assert "does not support" in caplog.text


def test_input_and_output_mappings_rename_columns() -> None:
    task = Count(
        name="count",
        llm=ScriptedLLM(answers=["1"]),
        input_mappings={"question": "prompt"},
        output_mappings={"number": "amount", "model_name": "who"},
    )

    with loaded(task):
        [row] = next(task.process_applying_mappings([{"prompt": "a"}]))

    assert (row["prompt"], row["amount"], row["who"]) == ("a", 1, "scripted")


def test_parameters_of_a_run_reach_the_model_of_a_task() -> None:
    task = Count(name="count", llm=ScriptedLLM())

    task.set_runtime_parameters({"num_generations": 2, "llm": {"generation_kwargs": {"temperature": 0.7}}})

    assert task.num_generations == 2
    assert task.llm.get_generation_kwargs() == {"temperature": 0.7}


def test_a_generator_task_makes_rows_of_its_own() -> None:
    class Ideas(GeneratorTask):
        @property
        def outputs(self) -> StepColumns:
            return ["idea", "model_name"]

        def process(self, offset: int = 0) -> GeneratorStepOutput:
            [output] = self.llm.generate_outputs([[{"role": "user", "content": "An idea?"}]])
            yield self.rows_of({}, None, output), True

        def format_output(self, output: str | None, input: Row | None = None) -> Row:
            return {"idea": output}

    task = Ideas(name="ideas", llm=ScriptedLLM(answers=["sleep"]))
    task.load()
    [(rows, last)] = list(task.process_applying_mappings())
    task.unload()

    assert (rows[0]["idea"], last) == ("sleep", True)


def test_a_global_task_is_a_global_step() -> None:
    class CountAll(Count, GlobalTask):
        pass

    task = CountAll(name="count", llm=ScriptedLLM(answers=["1"]))

    assert task.is_global
    assert [row["number"] for row in rows_of(task, {"question": "a"}, {"question": "b"})] == [1, 1]


def test_a_dump_builds_the_task_again() -> None:
    from distilmq.steps.tasks import TextGeneration

    task = TextGeneration(name="t", llm=ScriptedLLM(answers=["1"]), template="{{ a }}", columns="a", num_generations=3)

    copy = TextGeneration.from_dict(task.dump())

    assert copy.dump() == task.dump()


def test_an_answer_of_no_use_is_remarked_and_the_row_comes_out_as_it_did() -> None:
    remarks = Remarks()
    token = current_remarks.set(remarks)
    try:
        rows = rows_of(
            Count(name="count", llm=ScriptedLLM(answers={"one": "1", "two": "none"}.get)),
            {"question": "one"},
            {"question": "two"},
        )
    finally:
        current_remarks.reset(token)

    assert [row["number"] for row in rows] == [1, None]
    assert rows[1]["distilmq_metadata"]["raw_output_count"] == "none"
    assert "error_count" not in rows[1]["distilmq_metadata"]
    assert {row: (type(failed.error), failed.answer) for row, failed in remarks.failed.items()} == {
        1: (ValueError, "none")
    }


def test_a_task_says_how_many_rows_each_row_gave() -> None:
    remarks = Remarks()
    token = current_remarks.set(remarks)
    try:
        rows_of(
            Count(name="count", llm=ScriptedLLM(answers={"one": "1"}.get), num_generations=3),
            {"question": "one"},
            {"question": "one", "distilmq_metadata": {"error_before": "no"}},
        )
    finally:
        current_remarks.reset(token)

    assert remarks.counts == [3, 1]


def test_a_model_that_says_nothing_is_remarked() -> None:
    remarks = Remarks()
    token = current_remarks.set(remarks)
    try:
        with loaded(TextGeneration(name="say", llm=ScriptedLLM(answers={"one": None}.get))) as task:
            rows = [row for given in task.process([{"instruction": "one"}]) for row in given]
    finally:
        current_remarks.reset(token)

    assert rows[0]["generation"] is None
    assert [str(failed.error) for failed in remarks.failed.values()] == ["'scripted' gave no answer"]

"""What all steps do: tell their columns, check what `process` yields, keep artifacts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from pydantic import ValidationError

from distilmq.errors import DistilmqTypeError, DistilmqUserError
from distilmq.steps import (
    GeneratorStep,
    GeneratorStepOutput,
    GlobalStep,
    GroupColumns,
    LoadDataFromDicts,
    Step,
    StepColumns,
    StepInput,
    StepOutput,
    StepResources,
)


class Shout(Step):
    @property
    def inputs(self) -> StepColumns:
        return {"text": True, "volume": False}

    @property
    def outputs(self) -> StepColumns:
        return ["loud"]

    def process(self, inputs: StepInput) -> StepOutput:
        for row in inputs:
            yield [{**row, "loud": row["text"].upper()}]


class Yielding(Step):
    """Yields whatever it is given."""

    given: Any = None

    def process(self, inputs: StepInput) -> StepOutput:
        yield self.given


class Counting(GeneratorStep):
    until: int = 3

    @property
    def outputs(self) -> StepColumns:
        return ["number"]

    def process(self, offset: int = 0) -> GeneratorStepOutput:
        yield [{"number": number} for number in range(offset, self.until)], True


class Everything(GlobalStep):
    def process(self, inputs: StepInput) -> StepOutput:
        yield inputs


def test_all_yields_of_a_step_count() -> None:
    given_out = list(Shout().process_applying_mappings([{"text": "a"}, {"text": "b"}]))

    assert given_out == [[{"text": "a", "loud": "A"}], [{"text": "b", "loud": "B"}]]


def test_a_generator_is_asked_from_an_offset_on() -> None:
    step = Counting(output_mappings={"number": "n"})

    assert list(step.process_applying_mappings(offset=1)) == [([{"n": 1}, {"n": 2}], True)]


def test_each_kind_of_step_says_what_it_is() -> None:
    kinds = [(step.is_generator, step.is_global, step.is_normal) for step in (Counting(), Everything(), Shout())]

    assert kinds == [(True, False, False), (False, True, False), (False, False, True)]


def test_columns_are_told_by_their_names_in_the_rows() -> None:
    step = Shout(input_mappings={"text": "prompt"}, output_mappings={"loud": "shouted"})

    assert step.get_inputs() == {"prompt": True, "volume": False}
    assert step.get_outputs() == {"shouted": True}
    assert step.kept_columns(["prompt", "id"]) == ["prompt", "id", "shouted"]


def test_a_mapping_of_an_input_that_does_not_exist_is_refused() -> None:
    with pytest.raises(
        DistilmqUserError, match="The input column 'txt' doesn't exist in the inputs of the step 'shout"
    ):
        Shout(input_mappings={"txt": "prompt"}).verify_inputs_mappings()


def test_a_mapping_of_an_output_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match="The output column 'out' doesn't exist in the outputs of the step"):
        Shout(output_mappings={"out": "x"}).verify_outputs_mappings()


@pytest.mark.parametrize(
    ("given", "described"),
    [({"a": 1}, "it yielded a 'dict'"), ([1], "a list with a 'int' in it"), (None, "it yielded a 'NoneType'")],
)
def test_what_is_no_list_of_dicts_is_refused(given: Any, described: str) -> None:
    with pytest.raises(DistilmqTypeError, match=described):
        list(Yielding(given=given).process_applying_mappings([]))


def test_a_generator_that_yields_no_pair_is_refused() -> None:
    class Forgetful(GeneratorStep):
        def process(self, offset: int = 0) -> GeneratorStepOutput:
            yield [{"a": 1}]  # type: ignore[misc]

    with pytest.raises(DistilmqTypeError, match="has to yield pairs of a list of dicts and whether it is the last"):
        list(Forgetful().process_applying_mappings())


def test_missing_outputs_are_filled_with_none() -> None:
    assert Shout().impute_step_outputs([{"text": "a"}]) == [{"text": "a", "loud": None}]


def test_the_parameter_for_rows_is_found() -> None:
    assert Shout().get_process_step_input().name == "inputs"  # type: ignore[union-attr]
    assert not Shout().has_multiple_inputs()
    assert GroupColumns(columns=["a"]).has_multiple_inputs()
    assert Counting().get_process_step_input() is None
    assert [parameter.name for parameter in Counting().process_parameters] == ["offset"]


def test_two_parameters_for_rows_are_refused() -> None:
    class Confused(Step):
        def process(self, first: StepInput, second: StepInput) -> StepOutput:  # type: ignore[override]
            yield first

    with pytest.raises(DistilmqTypeError, match="should have only one parameter with type hint `StepInput`"):
        Confused(name="confused").get_process_step_input()


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Shout(temperature=1)  # type: ignore[call-arg]


def test_assigned_values_are_checked() -> None:
    step = Shout()

    with pytest.raises(ValidationError):
        step.input_batch_size = 0
    step.resources.replicas = 2
    assert (step.input_batch_size, step.resources) == (50, StepResources(replicas=2))


def test_an_artifact_is_a_folder_with_its_metadata(tmp_path: Path) -> None:
    step = Shout()
    step.keep_artifacts_in(tmp_path / "shout")

    step.save_artifact("figure", lambda folder: (folder / "figure.txt").write_text("drawn") and None, {"kind": "plot"})

    assert (tmp_path / "shout" / "figure" / "figure.txt").read_text() == "drawn"
    assert json.loads((tmp_path / "shout" / "figure" / "metadata.json").read_text()) == {"kind": "plot"}


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ""])
def test_an_artifact_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    step = Shout()
    step.keep_artifacts_in(tmp_path)

    with pytest.raises(DistilmqUserError, match="cannot be the name of an artifact"):
        step.save_artifact(name, lambda folder: None)


def test_an_artifact_outside_a_run_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Shout(name="shout").save_artifact("figure", lambda folder: None)

    assert "Cannot save artifact 'figure'" in caplog.text


def test_a_step_of_a_script_travels_by_value() -> None:
    step = cloudpickle.loads(cloudpickle.dumps(Shout(input_mappings={"text": "prompt"})))

    assert list(step.process_applying_mappings([{"prompt": "a"}])) == [[{"prompt": "a", "loud": "A"}]]


def test_a_pickled_step_leaves_its_pipeline_behind() -> None:
    from tests.sdk.steps.declared import building

    with building():
        step = LoadDataFromDicts(data=[{"a": 1}])

    sent = cloudpickle.loads(cloudpickle.dumps(step))
    assert (sent.name, sent.data, sent.pipeline) == (step.name, step.data, None)

"""What is refused before anything is started, and in which words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from distilmq.errors import DistilmqNotImplementedError, DistilmqTypeError, DistilmqUserError
from distilmq.models import AzureOpenAILLM, OpenAILLM
from distilmq.pipeline import Pipeline, routing_batch_function, sample_n_steps
from distilmq.pipeline.validation import validate
from distilmq.steps import (
    GroupColumns,
    KeepColumns,
    LoadDataFromDicts,
    LoadDataFromDisk,
    StepInput,
    StepResources,
    step,
)
from distilmq.steps.tasks import TextGeneration
from tests.sdk.pipeline.some_steps import (
    Asks,
    Double,
    Join,
    NoInput,
    NoOffset,
    Service,
    TakesRows,
    Total,
    TwoInputs,
    rows,
)


def pipeline_with(build: Callable[[], object]) -> Pipeline:
    with Pipeline("checked") as pipeline:
        build()
    return pipeline


def refusal(build: Callable[[], object], error: type[Exception] = DistilmqUserError) -> str:
    with pytest.raises(error) as raised:
        validate(pipeline_with(build).dag)
    return str(raised.value)


def warnings_of(build: Callable[[], object], caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING, "distilmq.pipeline"):
        validate(pipeline_with(build).dag)
    return [record.getMessage() for record in caplog.records]


def test_a_pipeline_without_steps() -> None:
    assert "The pipeline has no steps" in refusal(lambda: None)


def test_a_root_that_makes_no_rows() -> None:
    said = refusal(lambda: Double(name="double"))

    assert said.startswith("Step 'double' cannot be a root step because it is not a `GeneratorStep`.")


def test_a_connection_the_wrong_way_round_is_refused_with_the_call_that_was_meant() -> None:
    said = refusal(lambda: Double(name="double").connect(rows()))

    assert "Instead of `double.connect(load)` write `load.connect(double)`, or `load >> double`." in said


def test_a_step_that_takes_no_rows() -> None:
    said = refusal(lambda: rows() >> NoInput(name="deaf"))

    assert said.startswith(
        "Step 'deaf' should have a parameter with type hint `StepInput` to receive the output from the previous step:"
        " 'load'."
    )


def test_a_step_that_takes_one_list_behind_two_steps() -> None:
    def build() -> None:
        load = rows()
        load >> [Double(name="one"), Double(name="two")] >> Double(name="join")

    assert "Step 'join' should have a `*args` parameter with type hint `StepInput`" in refusal(build)


def test_a_step_with_two_inputs() -> None:
    said = refusal(lambda: rows() >> TwoInputs(name="torn"), DistilmqTypeError)

    assert "Step 'torn' should have only one parameter with type hint `StepInput`." in said


def test_what_a_file_system_says_of_a_step_names_the_step(tmp_path: Path) -> None:
    load = pipeline_with(lambda: LoadDataFromDisk(name="load", dataset_path=tmp_path / "nowhere"))

    with pytest.raises(FileNotFoundError) as raised:
        validate(load.dag)

    assert raised.value.__notes__ == ["This was raised by step 'load', which was checked before the run."]


def test_a_generator_that_takes_rows() -> None:
    said = refusal(lambda: TakesRows(name="odd"))

    assert "Generator step 'odd' should not have a parameter with type hint `StepInput`" in said


def test_a_generator_without_an_offset() -> None:
    assert "Generator step 'odd' should have an `offset` parameter" in refusal(lambda: NoOffset(name="odd"))


def test_a_missing_column_in_the_words_of_the_guide() -> None:
    @step(inputs=["instruction"], outputs=["generation"])
    def generate(inputs: StepInput):
        yield inputs

    def build() -> None:
        load = LoadDataFromDicts(name="load_dataset", data=[{"prompt": "", "completion": "", "meta": ""}])
        load >> generate(name="text_generation_with_gpt-4-0125-preview")

    assert refusal(build) == (
        "Step 'text_generation_with_gpt-4-0125-preview' requires inputs ['instruction'], but only the"
        " inputs=['prompt', 'completion', 'meta'] are available, which means that the inputs=['instruction'] are"
        " missing or not available when the step gets to be executed in the pipeline. Please make sure previous steps"
        " to 'text_generation_with_gpt-4-0125-preview' are generating the required inputs."
    )


def test_a_missing_column_is_a_value_error() -> None:
    assert refusal(lambda: rows(column="m") >> Double(name="double"), ValueError)


def test_optional_columns_may_be_missing() -> None:
    validate(pipeline_with(lambda: rows() >> Asks(service=Service(region="eu"))).dag)


def test_columns_follow_what_a_step_keeps() -> None:
    def build() -> None:
        rows() >> Double(name="double") >> KeepColumns(name="keep", columns=["double"]) >> Double(name="again")

    assert "Step 'again' requires inputs ['n'], but only the inputs=['double'] are available" in refusal(build)


def test_columns_of_all_branches_are_available_behind_a_join() -> None:
    def build() -> None:
        load = rows()
        load >> [Double(name="one"), Double(name="two", output_mappings={"double": "twice"})] >> Join(name="join")

    assert validate(pipeline_with(build).dag)["join"] == ["n", "double", "twice"]


def test_an_empty_list_of_rows_says_nothing_about_columns() -> None:
    validate(pipeline_with(lambda: rows(0) >> Double(name="double")).dag)


def test_an_input_mapping_of_an_input_that_is_not_there() -> None:
    said = refusal(lambda: rows() >> Double(name="double", input_mappings={"x": "n"}))

    assert said.startswith("The input column 'x' doesn't exist in the inputs of the step 'double'.")


def test_an_output_mapping_of_an_output_that_is_not_there() -> None:
    said = refusal(lambda: rows() >> Double(name="double", output_mappings={"x": "y"}))

    assert said.startswith("The output column 'x' doesn't exist in the outputs of the step 'double'.")


def test_a_missing_runtime_parameter_is_shown_as_the_call_that_gives_it() -> None:
    said = refusal(lambda: rows() >> Asks(name="ask"))

    assert said.startswith(
        "Step 'ask' is missing required runtime parameter 'service.region'. Please, provide a value for it when"
        " calling `Pipeline.run` method:"
    )
    assert 'pipeline.run(parameters={"ask": {"service": {"region": "..."}}})' in said


def routed(size: int = 5, upstream: int = 10) -> list[Double]:
    load = LoadDataFromDicts(name="load", data=[{"n": 1}], batch_size=upstream)
    steps = [Double(name=f"double_{number}", input_batch_size=size) for number in range(3)]
    load >> sample_n_steps(2) >> steps
    return steps


def test_a_routed_step_with_two_steps_in_front() -> None:
    def build() -> None:
        load = rows()
        other = Double(name="other")
        join = Join(name="join")
        load >> sample_n_steps(1) >> [join, other]
        other >> join

    assert "Step 'join' cannot have multiple predecessors when the batches of one are being routed" in refusal(build)


def test_sizes_of_routed_steps_are_warnings(caplog: pytest.LogCaptureFixture) -> None:
    said = warnings_of(lambda: routed(size=20), caplog)

    assert len(said) == 3
    assert "should have an `input_batch_size` equal or lower than the `input_batch_size` or `batch_size` of" in said[0]


def test_sizes_that_do_not_divide_are_warnings(caplog: pytest.LogCaptureFixture) -> None:
    said = warnings_of(lambda: routed(size=3), caplog)

    assert "should have an `input_batch_size` that is a multiple of" in said[0]


def test_a_global_step_behind_a_routing_function_takes_all_rows_whatever_its_size(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def build() -> None:
        load = LoadDataFromDicts(name="load", data=[{"n": 1}], batch_size=10)
        load >> sample_n_steps(1) >> [Total(name="one"), Total(name="two")]

    assert warnings_of(build, caplog) == []


def test_a_large_convergence_step_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def build() -> None:
        group = GroupColumns(name="group", columns=["double"], input_batch_size=50)
        routed() >> group

    said = warnings_of(build, caplog)

    assert len(said) == 1
    assert said[0].startswith("A convergence step should have an `input_batch_size` equal or lower")


def test_a_convergence_step_behind_two_routes() -> None:
    def build() -> None:
        one, two = rows(), LoadDataFromDicts(name="other", data=[{"n": 1}])
        a, b, c, d = (Double(name=name) for name in "abcd")
        one >> sample_n_steps(1) >> [a, b]
        two >> sample_n_steps(1) >> [c, d]
        [a, c] >> Join(name="join")

    assert refusal(build).startswith(
        "Convergence step 'join' should receive batches from steps receiving routed batches from the same previous"
        " step and `routing_batch_function`."
    )


def test_a_routing_function_at_the_root_needs_a_dataset() -> None:
    @routing_batch_function
    def first(steps: list[str]) -> list[str]:
        return steps[:1]

    said = refusal(lambda: first >> [Double(name="a"), Double(name="b")])

    assert "The routing function 'first' in front of step 'a' doesn't have an upstream step." in said
    assert "`generator >> first >> [a, b]`" in said


def test_replicas_of_a_step_that_runs_once_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    said = warnings_of(lambda: rows() >> Total(name="total", resources=StepResources(replicas=2)), caplog)

    assert said == ["Step 'total' is a global step: it runs once, `StepResources(replicas=2)` is not used."]


def test_generation_arguments_that_the_model_does_not_take() -> None:
    llm = OpenAILLM(model="m", generation_kwargs={"temprature": 1})

    said = refusal(lambda: rows() >> TextGeneration(llm=llm, input_mappings={"instruction": "text"}))

    assert said.startswith("`generation_kwargs` of `OpenAILLM` ('m') name ['temprature'], which it does not take.")


def test_a_routing_function_that_nothing_follows() -> None:
    said = refusal(lambda: rows() >> sample_n_steps(1))

    assert said.startswith("The routing function 'sample_n_steps(1)' behind step 'load' has no steps to choose from")


@pytest.mark.parametrize("count", [0, 3])
def test_a_sample_of_more_steps_than_follow(count: int) -> None:
    said = refusal(lambda: rows() >> sample_n_steps(count) >> [Double(name="a"), Double(name="b")])

    assert f"cannot choose {count} of the 2 steps that follow: a, b." in said


def test_a_model_whose_provider_has_no_batch_jobs_is_refused_before_the_run() -> None:
    def build() -> None:
        llm = AzureOpenAILLM(model="gpt-4", base_url="http://here", use_offline_batch_generation=True)
        LoadDataFromDicts(data=[{"instruction": "a"}]) >> TextGeneration(name="ask", llm=llm)

    text = refusal(build, DistilmqNotImplementedError)

    assert "`offline_batch_generate` is not implemented for `AzureOpenAILLM`" in text
    assert "how-to/offline-batches.md" in text

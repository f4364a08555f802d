"""Building pipelines: contexts, names, edges, routes, and what can be asked of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from distilmq import pipeline as package
from distilmq.errors import DistilmqUserError
from distilmq.pipeline import Pipeline, routing_batch_function, sample_n_steps
from distilmq.pipeline.prepare import RunOptions, prepare, storage_of
from distilmq.pipeline.requirements import check_requirements, missing_requirements
from distilmq.protocol.plan import Storage
from distilmq.utils.requirements import requirements
from tests.sdk.pipeline.some_steps import Asks, Double, Join, Service, Total, rows


def test_an_inner_pipeline_gives_the_outer_one_back() -> None:
    with Pipeline("outer") as outer:
        Double(name="one")
        with Pipeline("inner") as inner:
            Double(name="two")
        Double(name="three")

    assert (list(outer.dag), list(inner.dag)) == (["one", "three"], ["two"])


def test_the_outer_pipeline_is_given_back_after_an_error() -> None:
    with Pipeline("outer") as outer:
        with pytest.raises(ZeroDivisionError), Pipeline("inner"):
            raise ZeroDivisionError
        Double(name="one")

    assert list(outer.dag) == ["one"]


def test_the_same_pipeline_can_be_entered_again() -> None:
    pipeline = Pipeline("twice")
    with pipeline:
        Double(name="one")
        with pipeline:
            Double(name="two")
        Double(name="three")

    assert list(pipeline.dag) == ["one", "two", "three"]


def test_a_pipeline_without_a_name_is_called_after_its_steps() -> None:
    with Pipeline() as pipeline:
        rows() >> Double(name="double")

    assert pipeline.name == "pipeline_load_double"


def test_steps_without_names_get_the_first_free_one() -> None:
    with Pipeline() as pipeline:
        Double()
        Double(name="double_2")
        Double()
        Double()

    assert list(pipeline.dag) == ["double_0", "double_2", "double_1", "double_3"]


def test_two_steps_of_one_name_are_refused() -> None:
    with Pipeline():
        Double(name="a")

        with pytest.raises(ValueError, match="Step with name 'a' already exists"):
            Double(name="a")


def test_a_name_that_cannot_be_is_refused_with_one_that_can() -> None:
    with Pipeline(), pytest.raises(ValidationError, match=r"'gemini-1\.5-pro' would do"):
        Double(name="gemini 1.5/pro")


def test_edges_that_cannot_be_are_refused() -> None:
    with Pipeline() as pipeline:
        load, double = rows(), Double(name="double")
        load >> double

        with pytest.raises(ValueError, match="There is already a edge from 'load' to 'double'"):
            load >> double
        with pytest.raises(ValueError, match="Step with name 'x' does not exist"):
            pipeline.add_edge("load", "x")
        with pytest.raises(ValueError, match="Cannot add edge from 'double' to 'load' as it would create a cycle"):
            pipeline.add_edge("double", "load")


def test_two_routing_functions_at_the_root_are_refused() -> None:
    @routing_batch_function
    def first(steps: list[str]) -> list[str]:
        return steps[:1]

    with Pipeline():
        one, two = Double(name="one"), Double(name="two")
        first >> [one]
        with pytest.raises(DistilmqUserError, match="has the routing function 'first' at its root already"):
            sample_n_steps(1) >> [two]


def test_load_stages_and_their_last_steps() -> None:
    with Pipeline() as pipeline:
        load, one, two, join, total = (
            rows(),
            Double(name="one"),
            Double(name="two"),
            Join(name="join"),
            Total(name="total"),
        )
        load >> [one, two] >> join >> total

    assert pipeline.get_load_stages() == ([["load", "one", "two", "join"], ["total"]], [["join"], ["total"]])
    assert pipeline.get_load_stages([[one, "two"]])[0] == [["load"], ["one", "two"], ["join"], ["total"]]
    assert len(pipeline.get_load_stages("sequential_step_execution")[0]) == 5


def test_a_load_group_with_an_unknown_step_is_refused() -> None:
    with Pipeline() as pipeline:
        rows()

    with pytest.raises(DistilmqUserError, match="is not an step included in the pipeline"):
        prepare(pipeline.dag, RunOptions(load_groups=[["x"]]))


def test_runtime_parameters_are_told_step_by_step() -> None:
    with Pipeline() as pipeline:
        rows() >> Asks(name="ask")

    infos = {info["name"]: info for info in pipeline.get_runtime_parameters_info()["ask"] if "name" in info}

    region = next(info for info in infos["service"]["runtime_parameters_info"] if info["name"] == "region")
    assert region == {"name": "region", "optional": False, "description": "Where it runs."}


def test_a_parameter_for_a_step_that_is_not_there_names_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    with Pipeline() as pipeline:
        rows() >> Double(name="text_generation_with_gemini-1-0-pro")

    with caplog.at_level(logging.WARNING, "distilmq.pipeline"):
        prepare(pipeline.dag, RunOptions(parameters={"text_generation_with_gemini-1.0-pro": {"llm": {}}}))

    (warning,) = [record.getMessage() for record in caplog.records]
    assert "Step 'text_generation_with_gemini-1.0-pro' provided in" in warning
    assert "Did you mean 'text_generation_with_gemini-1-0-pro'?" in warning


def test_parameters_that_are_no_mapping_are_refused() -> None:
    with Pipeline() as pipeline:
        rows()

    with pytest.raises(DistilmqUserError, match="have to be a mapping of parameter to value"):
        prepare(pipeline.dag, RunOptions(parameters={"load": 3}))  # type: ignore[dict-item]  # that is the mistake


def test_storage_without_a_path_is_refused() -> None:
    with Pipeline() as pipeline:
        rows()

    with pytest.raises(DistilmqUserError, match="The 'path' key must be present in the `storage_parameters`"):
        prepare(pipeline.dag, RunOptions(storage_parameters={"key": "x"}))


def test_a_secret_among_the_storage_parameters_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with Pipeline() as pipeline:
        rows()

    with caplog.at_level(logging.WARNING, "distilmq.pipeline"):
        prepare(pipeline.dag, RunOptions(storage_parameters={"path": "s3://x", "secret": "sk-very-secret"}))

    assert "`storage_parameters['secret']` is kept with the plan" in caplog.text
    assert "sk-very-secret" not in caplog.text


def test_rows_go_by_way_of_a_file_system_if_it_is_wanted() -> None:
    every = {"path": "s3://x/y", "endpoint_url": "http://here"}

    assert storage_of(RunOptions()) is None
    assert storage_of(RunOptions(use_fs_to_pass_data=True), "/run/here") == Storage(path="/run/here")
    assert storage_of(RunOptions(storage_parameters=every)) == Storage(
        path="s3://x/y", options={"endpoint_url": "http://here"}, everything=False
    )
    assert every["path"] == "s3://x/y"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (RunOptions(use_fs_to_pass_data=True), "needs a place that the broker and all workers can reach"),
        (RunOptions(storage_parameters={"path": "x", "session": object()}), "may hold texts, numbers, lists and dicts"),
    ],
)
def test_storage_that_nobody_else_could_use_is_refused(options: RunOptions, said: str) -> None:
    with pytest.raises(DistilmqUserError, match=said):
        storage_of(options)


def test_a_ray_cluster_is_a_warning(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_NODE_TYPE_NAME", "RAY_CLUSTER_NAME", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "x")
    with Pipeline() as pipeline:
        rows()

    with caplog.at_level(logging.WARNING, "distilmq.pipeline"):
        prepare(pipeline.dag, RunOptions())

    assert "This is a Ray cluster, and the pipeline runs on this machine only." in caplog.text


def test_requirements_are_met_by_name_of_the_distribution_and_version() -> None:
    wanted = ["PyYAML>=5,<100", "huggingface-hub", "pyzmq==0.1", "absent-package>=2", "x; python_version < '3'"]

    assert missing_requirements(wanted) == ["pyzmq==0.1", "absent-package>=2"]


def test_steps_and_their_models_say_what_they_need() -> None:
    @requirements(["nltk>=3.8"])
    class Needy(Asks):
        pass

    @requirements(["boto3"])
    class NeedyService(Service):
        pass

    with Pipeline(requirements=["zstandard"]) as pipeline:
        Needy(name="ask", service=NeedyService())

    assert pipeline.requirements == ["boto3", "nltk>=3.8", "zstandard"]


def test_missing_requirements_are_named_with_the_command() -> None:
    with pytest.raises(ModuleNotFoundError, match="Please install the following requirements") as raised:
        check_requirements(["absent-package>=2"])

    assert "- absent-package>=2" in str(raised.value)
    assert "pip install 'absent-package>=2'" in str(raised.value)


def test_the_cache_is_where_the_argument_or_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILMQ_CACHE_DIR", str(tmp_path / "environment"))
    assert Pipeline(cache_dir=tmp_path / "argument").cache_dir == tmp_path / "argument"
    assert Pipeline().cache_dir == tmp_path / "environment"

    monkeypatch.delenv("DISTILMQ_CACHE_DIR")
    assert Pipeline().cache_dir == Path.home() / ".cache" / "distilmq" / "pipelines"


def test_what_is_not_built_says_so() -> None:
    with pytest.raises(ImportError, match=r"'distilmq\.pipeline\.InstructionResponsePipeline' is not in distilmq yet"):
        _ = package.InstructionResponsePipeline


def test_a_pipeline_for_ray_is_the_same_pipeline() -> None:
    with Pipeline("on-ray", description="d", requirements=["pyyaml"]) as pipeline:
        rows()

    on_ray = pipeline.ray("head:6379", {"runtime_env": {}})

    assert isinstance(on_ray, package.RayPipeline)
    assert (on_ray.name, on_ray.description, on_ray.requirements) == ("on-ray", "d", pipeline.requirements)
    assert on_ray.dag is pipeline.dag
    assert on_ray.signature == pipeline.signature
    assert on_ray.dump() == pipeline.dump()


def test_a_second_routing_function_behind_a_step_is_refused() -> None:
    with Pipeline("twice"):
        load = rows()
        load >> sample_n_steps(1) >> [Double(name="a"), Double(name="b")]

        with pytest.raises(DistilmqUserError, match=r"'load' has the routing function 'sample_n_steps\(1\)' behind it"):
            load >> sample_n_steps(2) >> [Double(name="c"), Double(name="d")]


@pytest.mark.parametrize("groups", ["sequential", ["double"], [[]], [3]])
def test_load_groups_of_another_shape_are_refused(groups: Any) -> None:
    with Pipeline("grouped") as pipeline:
        rows() >> Double(name="double")

    with pytest.raises(DistilmqUserError, match=r"sequential_step_execution|A load group is a list of steps"):
        pipeline.get_load_stages(groups)


def test_a_parameter_that_does_not_fit_names_the_step_and_the_value() -> None:
    with Pipeline("sized") as pipeline:
        rows() >> Double(name="double.1")

    with pytest.raises(DistilmqUserError) as raised:
        pipeline.run(parameters={"double.1": {"input_batch_size": "many"}})

    assert "The parameters of step 'double.1' do not fit: `input_batch_size` cannot be 'many'" in str(raised.value)


def test_parameters_are_a_mapping_of_steps() -> None:
    with Pipeline("listed") as pipeline:
        rows()

    with pytest.raises(DistilmqUserError, match="`parameters` have to be a mapping of step to parameters"):
        pipeline.run(parameters=[("load", {})])  # type: ignore[arg-type]

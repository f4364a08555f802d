"""Steps join the pipeline around them and are connected in every form that distilabel knows."""

from __future__ import annotations

import logging

import pytest
from pydantic import ValidationError

from distilmq.errors import DistilmqTypeError, DistilmqUserError
from distilmq.steps import CombineOutputs, GroupColumns, KeepColumns, LoadDataFromDicts
from distilmq.steps.declaring import current_pipeline
from distilmq.steps.routing import routing_batch_function, sample_n_steps
from tests.sdk.steps.declared import DeclaredPipeline, building


def keep(name: str = "") -> KeepColumns:
    return KeepColumns(name=name, columns=["a"])


def test_connect_lets_rows_flow_to_several_steps() -> None:
    with building() as pipeline:
        source, first, second = keep("source"), keep("first"), keep("second")

        assert source.connect(first, second) is None  # type: ignore[func-returns-value]

    assert pipeline.edges == [("source", "first"), ("source", "second")]


def test_steps_and_lists_are_chained_by_arrows() -> None:
    with building() as pipeline:
        source, first, second, join = keep("source"), keep("first"), keep("second"), GroupColumns(columns=["a"])

        last = source >> [first, second] >> join

    assert last is join
    assert pipeline.edges == [
        ("source", "first"),
        ("source", "second"),
        ("first", "group_columns_0"),
        ("second", "group_columns_0"),
    ]


def test_two_lists_cannot_be_connected() -> None:
    with building(), pytest.raises(TypeError):
        [keep("a")] >> [keep("b")]  # type: ignore[operator]


def test_a_routing_function_stands_between_a_step_and_a_list() -> None:
    route = sample_n_steps(1)
    with building() as pipeline:
        source, first, second, join = keep("source"), keep("first"), keep("second"), CombineOutputs(name="join")

        source >> route >> [first, second] >> join

    assert pipeline.edges == [("source", "first"), ("source", "second"), ("first", "join"), ("second", "join")]
    assert pipeline.routes == {"source": route}


@pytest.mark.parametrize("called", [False, True])
def test_both_forms_of_the_decorator_make_a_routing_function(called: bool) -> None:
    def first_only(steps: list[str]) -> list[str]:
        return steps[:1]

    route = routing_batch_function("the first")(first_only) if called else routing_batch_function(first_only)

    assert route(["a", "b"]) == ["a"]
    assert route.description == ("the first" if called else None)


def test_a_routing_function_at_the_root_waits_for_the_dataset() -> None:
    route = sample_n_steps(1)
    with building() as pipeline:
        first, second, join = keep("first"), keep("second"), CombineOutputs(name="join")

        route >> [first, second] >> join

    assert pipeline.root_route == (route, ["first", "second"])
    assert pipeline.edges == [("first", "join"), ("second", "join")]


def test_a_routing_function_used_in_one_pipeline_can_be_the_root_of_another() -> None:
    route = sample_n_steps(1)
    with building() as first_pipeline:
        keep("source") >> route >> [keep("a"), keep("b")]
    with building() as second_pipeline:
        route >> [keep("c"), keep("d")]

    assert list(first_pipeline.routes) == ["source"]
    assert second_pipeline.root_route == (route, ["c", "d"])


def test_only_a_list_can_stand_behind_a_routing_function() -> None:
    with (
        building(),
        pytest.raises(DistilmqUserError, match="Can only set a `routing_batch_function` for a list of steps"),
    ):
        keep("source") >> sample_n_steps(1) >> keep("a")  # type: ignore[operator]


def test_default_names_are_unique_in_their_pipeline() -> None:
    with building() as pipeline:
        names = [LoadDataFromDicts().name, LoadDataFromDicts(name="load_data_from_dicts_2").name]
        names += [LoadDataFromDicts().name, LoadDataFromDicts().name]

    assert names == [
        "load_data_from_dicts_0",
        "load_data_from_dicts_2",
        "load_data_from_dicts_1",
        "load_data_from_dicts_3",
    ]
    assert list(pipeline.steps) == names


def test_a_name_that_exists_is_refused() -> None:
    with building(), pytest.raises(ValidationError, match="Step with name 'same' already exists"):
        keep("same"), keep("same")


def test_names_of_models_are_names_of_steps() -> None:
    assert keep("text_generation_with_gemini-1.5-pro").name == "text_generation_with_gemini-1.5-pro"


@pytest.mark.parametrize(
    ("name", "proposed"), [("with space", "with-space"), ("a/b", "a-b"), ("größe", "gr-e"), ("../up", "..-up")]
)
def test_a_name_with_another_character_is_refused_and_one_proposed(name: str, proposed: str) -> None:
    with pytest.raises(ValidationError, match=f"'{proposed}' would do"):
        keep(name)


def test_a_step_outside_a_pipeline_warns_and_works_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        step = keep("alone")

    assert "Step 'alone' hasn't received a pipeline" in caplog.text
    step.load()
    assert next(step.process([{"a": 1, "b": 2}])) == [{"a": 1}]


def test_a_step_outside_a_pipeline_cannot_be_connected() -> None:
    with pytest.raises(DistilmqUserError, match="Step 'a' cannot be connected: it is not part of a pipeline"):
        keep("a") >> keep("b")


def test_steps_of_two_pipelines_cannot_be_connected() -> None:
    with building():
        first = keep("a")
    with building():
        second = keep("b")

    with pytest.raises(DistilmqUserError, match="they are parts of different pipelines"):
        first >> second


def test_a_step_joins_the_pipeline_that_it_is_given() -> None:
    other = DeclaredPipeline()
    with building() as around:
        step = KeepColumns(name="a", columns=["a"], pipeline=other)

    assert (list(around.steps), list(other.steps)) == ([], ["a"])
    assert step.pipeline is other
    assert current_pipeline.get() is None


@pytest.mark.parametrize("name", ["a\n", ".", "..", "x" * 201])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with building(), pytest.raises(ValidationError, match="cannot be the name of a step"):
        keep(name)


def test_a_step_is_not_connected_to_a_list_by_connect() -> None:
    with building(), pytest.raises(DistilmqUserError, match=r"write `a.connect\(step_1, step_2\)`"):
        keep("a").connect([keep("b")])  # type: ignore[arg-type]


def test_a_routing_function_needs_a_step_to_choose() -> None:
    with building(), pytest.raises(DistilmqUserError, match="for a list of steps"):
        keep("a") >> sample_n_steps(1) >> []


def test_a_routing_function_stays_behind_its_step_when_the_chain_ends_with_it() -> None:
    route = sample_n_steps(1)
    with building() as pipeline:
        source, first = keep("source"), keep("first")

        source >> route
        source >> [first]

    assert pipeline.routes == {"source": route}


def test_a_bare_function_behind_a_step_needs_the_decorator() -> None:
    def route(steps: list[str]) -> list[str]:
        return steps[:1]

    with building(), pytest.raises(DistilmqTypeError, match=r"Step 'a'.*needs `@routing_batch_function` above it"):
        keep("a") >> route  # type: ignore[operator]


def test_a_class_behind_a_step_has_to_be_called() -> None:
    with building(), pytest.raises(DistilmqTypeError, match=r"write `a >> KeepColumns\(\.\.\.\)`"):
        keep("a") >> KeepColumns  # type: ignore[operator]

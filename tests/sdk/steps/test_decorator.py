"""`@step` makes a step of a function."""

from __future__ import annotations

from typing import Optional

import cloudpickle
import pytest
from pydantic import ValidationError

from distilmq.errors import DistilmqTypeError, DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.steps import GeneratorStep, GeneratorStepOutput, GlobalStep, Step, StepInput, StepOutput, step


@step(inputs=["text"], outputs=["repeated"])
def Repeat(
    inputs: StepInput,
    times: RuntimeParameter[int] = 2,
    end: Optional[RuntimeParameter[str]] = None,  # noqa: UP045
) -> StepOutput:
    """Repeats texts."""
    yield [{**row, "repeated": row["text"] * times + (end or "")} for row in inputs]


@step(outputs=["number"], step_type="generator")
def Numbers(offset: int = 0, until: RuntimeParameter[int] = 3) -> GeneratorStepOutput:
    yield [{"number": number} for number in range(offset, until)], True


@step(step_type="global")
def Last(inputs: StepInput) -> StepOutput:
    yield inputs[-1:]


@step(inputs=["a"], outputs=["sum"])
def Add(*inputs: StepInput) -> StepOutput:
    yield [{"sum": sum(row["a"] for row in rows)} for rows in zip(*inputs, strict=True)]


@step()
def Needy(inputs: StepInput, key: RuntimeParameter[str]) -> StepOutput:
    yield [{**row, "key": key} for row in inputs]


def test_a_decorated_function_is_a_step_of_its_name() -> None:
    made = Repeat()

    assert isinstance(made, Step)
    assert (made.name, made.inputs, made.outputs, type(made).__doc__) == (
        "repeat_0",
        ["text"],
        ["repeated"],
        "Repeats texts.",
    )


def test_defaults_of_parameters_are_honoured() -> None:
    assert list(Repeat().process_applying_mappings([{"text": "a"}])) == [[{"text": "a", "repeated": "aa"}]]


def test_parameters_are_fields_that_a_run_can_set() -> None:
    made = Repeat(times=3)
    made.set_runtime_parameters({"end": "!"})

    assert list(made.process_applying_mappings([{"text": "a"}])) == [[{"text": "a", "repeated": "aaa!"}]]
    assert {name: made.runtime_parameters_names[name] for name in ("times", "end")} == {"times": True, "end": True}


def test_a_parameter_without_a_default_is_required() -> None:
    assert Needy().runtime_parameters_names["key"] is False


def test_a_decorated_generator_gets_the_offset_and_its_parameters() -> None:
    assert isinstance(Numbers(), GeneratorStep)
    assert list(Numbers(until=4).process_applying_mappings(offset=2)) == [([{"number": 2}, {"number": 3}], True)]


def test_a_decorated_global_step_is_global() -> None:
    assert isinstance(Last(), GlobalStep)
    assert list(Last().process_applying_mappings([{"a": 1}, {"a": 2}])) == [[{"a": 2}]]


def test_a_decorated_join_takes_several_lists() -> None:
    assert Add().has_multiple_inputs()
    assert list(Add().process_applying_mappings([{"a": 1}], [{"a": 2}])) == [[{"sum": 3}]]


def test_values_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(ValidationError):
        Repeat(times="often")


def test_an_unknown_type_of_step_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match="Invalid step type 'weird'"):
        step(step_type="weird")  # type: ignore[call-overload]


def test_two_inputs_are_refused() -> None:
    def confused(first: StepInput, second: StepInput) -> StepOutput:
        yield first

    with pytest.raises(DistilmqTypeError, match="should have only one parameter with type hint `StepInput`"):
        step()(confused)


def test_a_generator_with_input_is_refused() -> None:
    def confused(inputs: StepInput) -> GeneratorStepOutput:
        yield inputs, True

    with pytest.raises(DistilmqUserError, match="should not have a parameter with type hint `StepInput`"):
        step(step_type="generator")(confused)


def test_a_parameter_cannot_hide_a_field_of_all_steps() -> None:
    def confused(inputs: StepInput, name: RuntimeParameter[str] = "") -> StepOutput:
        yield inputs

    with pytest.raises(DistilmqTypeError, match="'name' cannot be a runtime parameter"):
        step()(confused)


def test_a_step_made_within_a_function_travels() -> None:
    factor = 3

    @step(outputs=["n"])
    def Scale(inputs: StepInput, by: RuntimeParameter[int] = 2) -> StepOutput:
        yield [{"n": row["n"] * by * factor} for row in inputs]

    sent = cloudpickle.loads(cloudpickle.dumps(Scale(by=5)))

    assert list(sent.process_applying_mappings([{"n": 1}])) == [[{"n": 15}]]
    assert sent.signature == Scale(by=5).signature


def test_a_decorator_without_parentheses_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match=r"`@step` above 'bare' lacks its parentheses: write `@step\(\)`"):

        @step  # type: ignore[arg-type]
        def bare(inputs: StepInput) -> StepOutput:
            yield inputs


def test_columns_are_no_text() -> None:
    with pytest.raises(DistilmqTypeError, match=r"not the text 'prompt': write \['prompt'\]"):
        step(inputs="prompt")  # type: ignore[arg-type, call-overload]

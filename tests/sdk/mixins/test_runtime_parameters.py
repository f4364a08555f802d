"""Fields that a run may set, down to nested models and lists of them."""

from __future__ import annotations

import logging
import warnings
from typing import Any, Optional

import pytest
from pydantic import Field, PositiveInt, SecretStr, ValidationError

from distilmq.mixins.runtime_parameters import RuntimeParameter, RuntimeParametersMixin


class Model(RuntimeParametersMixin):
    """A model.

    Attributes:
        key: opens the door,
            which is locked.
        timeout: how long to wait.
    """

    key: RuntimeParameter[SecretStr]
    timeout: RuntimeParameter[PositiveInt] = 30
    region: Optional[RuntimeParameter[str]] = Field(default=None, description="Where it runs.")  # noqa: UP045
    options: RuntimeParameter[dict[str, Any]] = Field(default_factory=dict)
    fixed: int = 1


class Mixture(RuntimeParametersMixin):
    name: str = "mixture"
    first: Model = Field(default_factory=Model)
    proposers: list[Model] = Field(default_factory=lambda: [Model(), Model()])
    rounds: RuntimeParameter[int] = 1


NAMES = {"key": False, "timeout": True, "region": True, "options": True}


def test_a_parameter_without_a_default_is_required() -> None:
    assert Model().runtime_parameters_names == NAMES


def test_parameters_of_nested_models_and_lists_are_found() -> None:
    assert Mixture().runtime_parameters_names == {"first": NAMES, "proposers": {"0": NAMES, "1": NAMES}, "rounds": True}


def test_descriptions_come_from_the_field_or_the_docstring() -> None:
    assert Model().get_runtime_parameters_info() == [
        {"name": "key", "optional": False, "description": "opens the door, which is locked."},
        {"name": "timeout", "optional": True, "description": "how long to wait."},
        {"name": "region", "optional": True, "description": "Where it runs."},
        {"name": "options", "optional": True, "description": None},
    ]


def test_infos_of_nested_models_and_lists_are_given() -> None:
    infos = Mixture().get_runtime_parameters_info()

    inner = Model().get_runtime_parameters_info()
    assert infos == [
        {"name": "first", "runtime_parameters_info": inner},
        {"name": "proposers", "runtime_parameters_info": {"0": inner, "1": inner}},
        {"name": "rounds", "optional": True, "description": None},
    ]


def test_parameters_are_set_down_to_members_of_lists() -> None:
    model = Mixture()

    model.set_runtime_parameters(
        {"rounds": "2", "first": {"key": "secret"}, "proposers": {"1": {"timeout": 5, "options": {"a": 1}}}}
    )

    assert model.rounds == 2
    assert model.first.key == SecretStr("secret")
    assert [proposer.timeout for proposer in model.proposers] == [30, 5]
    assert [proposer.options for proposer in model.proposers] == [{}, {"a": 1}]


def test_a_whole_nested_model_can_be_set() -> None:
    model = Mixture()

    model.set_runtime_parameters({"first": Model(timeout=7)})

    assert model.first.timeout == 7


@pytest.mark.parametrize("value", ["never", 0, -1])
def test_a_value_that_does_not_fit_is_refused(value: Any) -> None:
    model = Model()

    with pytest.raises(ValidationError):
        model.set_runtime_parameters({"timeout": value})
    assert model.timeout == 30


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"round": 1}, "Runtime parameter 'round' unknown in 'mixture'. Did you mean any of: ['rounds']?"),
        ({"zzz": 1}, "Available runtime parameters: ['first', 'proposers', 'rounds']."),
        ({"proposers": {"2": {}}}, "Runtime parameter 'proposers.2' unknown in 'mixture'."),
        ({"first": {"timeuot": 1}}, "Did you mean any of: ['timeout']?"),
    ],
)
def test_an_unknown_parameter_is_a_warning_with_near_ones(
    parameters: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Mixture().set_runtime_parameters(parameters)

    assert said in caplog.text


def test_declaring_parameters_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Fresh(RuntimeParametersMixin):
            a: Optional[RuntimeParameter[int]] = None  # noqa: UP045
            b: RuntimeParameter[int] = Field(default=None, ge=2)

    assert Fresh().runtime_parameters_names == {"a": True, "b": False}
    with pytest.raises(ValidationError):
        Fresh(b=1)

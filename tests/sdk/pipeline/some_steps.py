"""Small steps that tests build pipelines of."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from distilmq.mixins.runtime_parameters import RuntimeParameter, RuntimeParametersMixin
from distilmq.steps import (
    GeneratorStep,
    GeneratorStepOutput,
    GlobalStep,
    LoadDataFromDicts,
    Step,
    StepColumns,
    StepInput,
    StepOutput,
)


def rows(count: int = 3, column: str = "n") -> LoadDataFromDicts:
    """A loader of so many rows with one column."""
    return LoadDataFromDicts(name="load", data=[{column: number} for number in range(count)])


class Double(Step):
    """Doubles `n`."""

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    @property
    def outputs(self) -> StepColumns:
        return ["double"]

    def process(self, inputs: StepInput) -> StepOutput:
        yield [{**row, "double": 2 * row["n"]} for row in inputs]


class Total(GlobalStep):
    """Adds up all `n`."""

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    @property
    def outputs(self) -> StepColumns:
        return ["total"]

    def process(self, inputs: StepInput) -> StepOutput:
        yield [{**row, "total": sum(row["n"] for row in inputs)} for row in inputs]


class Join(Step):
    """Puts rows of several steps together."""

    def process(self, *inputs: StepInput) -> StepOutput:
        yield [{key: value for row in group for key, value in row.items()} for group in zip(*inputs, strict=True)]


class Service(RuntimeParametersMixin):
    """A nested model with a secret and a required parameter."""

    model_config = ConfigDict(extra="forbid")

    model: str = "small"
    api_key: SecretStr | None = None
    token: RuntimeParameter[SecretStr] | None = Field(default=None)
    region: RuntimeParameter[str] = Field(default=None, description="Where it runs.")
    generation_kwargs: RuntimeParameter[dict[str, Any]] = Field(default={})


class Asks(Step):
    """Asks a service."""

    service: Service = Field(default_factory=Service)
    retries: RuntimeParameter[int] = Field(default=3)

    _connection: Any = PrivateAttr(default=None)

    @property
    def inputs(self) -> StepColumns:
        return {"n": True, "hint": False}

    @property
    def outputs(self) -> StepColumns:
        return ["answer"]

    def process(self, inputs: StepInput) -> StepOutput:
        secret = self.service.api_key or self.service.token
        length = len(secret.get_secret_value()) if secret else 0
        yield [{**row, "answer": f"{self.service.model} {self.service.region} len {length}"} for row in inputs]


class NoInput(Step):
    """Forgets to say where rows come in."""

    def process(self, inputs: list[dict[str, Any]]) -> StepOutput:  # type: ignore[override]  # that is the mistake
        yield inputs


class TwoInputs(Step):
    """Says twice where rows come in."""

    def process(self, inputs: StepInput, others: StepInput) -> StepOutput:  # type: ignore[override]  # ditto
        yield inputs + others


class TakesRows(GeneratorStep):
    """A generator that wants rows."""

    def process(self, inputs: StepInput, offset: int = 0) -> GeneratorStepOutput:  # type: ignore[override]  # ditto
        yield inputs, True


class NoOffset(GeneratorStep):
    """A generator that cannot be resumed."""

    def process(self) -> GeneratorStepOutput:  # type: ignore[override]  # ditto
        yield [], True

"""Steps that import a package when rows come, not when they are loaded; hosts import them by name."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from distilmq.steps import StepColumns, StepInput, StepOutput
from distilmq.steps.tasks import Task
from tests.integration.hosted_steps import Double

PACKAGE = "scoring_library"


def score(number: int, gate: str) -> int:
    """Twice the number, once a file is there; writes the host's name into another before."""
    import scoring_library  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  # some hosts have it

    with Path(f"{gate}.reached").open("a") as reached:
        reached.write(f"{os.environ['HOST']}\n")
    while not Path(gate).exists():
        time.sleep(0.005)
    return scoring_library.double(number)  # type: ignore[no-any-return]  # it is one


class Scoring(Double):
    """Doubles with what a package has."""

    gate: str

    def process(self, inputs: StepInput) -> StepOutput:
        yield [{**row, "doubled": score(row["n"], self.gate)} for row in inputs]


class AskingAndScoring(Task):
    """Asks a model about a number, and doubles it with what a package has."""

    gate: str
    begun: str

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    @property
    def outputs(self) -> StepColumns:
        return ["doubled", "model_name"]

    def format_input(self, input: dict[str, Any]) -> Any:
        with Path(self.begun).open("a") as begun:
            begun.write(f"{os.environ['HOST']}\n")
        return [{"role": "user", "content": f"number {input['n']:02d}"}]

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        assert input is not None
        return {"doubled": score(input["n"], self.gate)}

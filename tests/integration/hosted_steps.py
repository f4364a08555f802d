"""Steps for hosts to run; they are imported there by name."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from pydantic import SecretStr

from distilmq.steps import GlobalStep, Step, StepColumns, StepInput, StepOutput


class Double(Step):
    """Doubles `n`."""

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    @property
    def outputs(self) -> StepColumns:
        return ["doubled"]

    def process(self, inputs: StepInput) -> StepOutput:
        yield [{**row, "doubled": 2 * row["n"]} for row in inputs]


class Gated(Double):
    """Doubles once a file is there; writes into another, for each batch that it begins, its first number."""

    gate: str
    begun: str

    def process(self, inputs: StepInput) -> StepOutput:
        with Path(self.begun).open("a") as begun:
            begun.write(f"{inputs[0]['n']}\n")
        while not Path(self.gate).exists():
            time.sleep(0.005)
        yield from super().process(inputs)


class Loaded(Double):
    """Doubles, slowly; writes its name into a file whenever it is loaded."""

    loads: str
    pause: float

    def load(self) -> None:
        super().load()
        with Path(self.loads).open("a") as loads:
            loads.write(f"{self.name}\n")

    def process(self, inputs: StepInput) -> StepOutput:
        time.sleep(self.pause)
        yield from super().process(inputs)


class Keyed(Gated):
    """Doubles where it was told a key."""

    key: SecretStr | None = None

    def process(self, inputs: StepInput) -> StepOutput:
        if self.key is None or self.key.get_secret_value() != "sesame":
            raise ValueError("it has no key")
        yield from super().process(inputs)


class Needing(Gated):
    """Loads where the environment has a variable, as if a package were installed there."""

    def load(self) -> None:
        super().load()
        if "HAS_IT" not in os.environ:
            raise ModuleNotFoundError("No module named 'somewhere_else'")


class Secretive(Gated):
    """Loads where it knows a secret, and says which process worked with it."""

    key: SecretStr

    @property
    def outputs(self) -> StepColumns:
        return ["doubled", "pid"]

    def load(self) -> None:
        super().load()
        assert self.key.get_secret_value() == "sk-of-a-client"

    def process(self, inputs: StepInput) -> StepOutput:
        for rows in super().process(inputs):
            yield [{**row, "pid": os.getpid()} for row in rows]


class Showing(Double):
    """Says which GPUs its process sees."""

    @property
    def outputs(self) -> StepColumns:
        return ["doubled", "gpus"]

    def process(self, inputs: StepInput) -> StepOutput:
        shown = os.environ["CUDA_VISIBLE_DEVICES"]
        yield [{**row, "doubled": 2 * row["n"], "gpus": shown} for row in inputs]


class Lengthy(Double):
    """Doubles, and adds a long text that does not become short in a packet."""

    length: int

    @property
    def outputs(self) -> StepColumns:
        return ["doubled", "text"]

    def process(self, inputs: StepInput) -> StepOutput:
        yield [{**row, "doubled": 2 * row["n"], "text": lengthy(row["n"], self.length)} for row in inputs]


def lengthy(number: int, length: int) -> str:
    """The text of a number."""
    return random.Random(number).randbytes(length // 2).hex()


class CountAll(GlobalStep):
    """Says how many rows there are, and whether they came in order."""

    @property
    def inputs(self) -> StepColumns:
        return ["n", "text"]

    @property
    def outputs(self) -> StepColumns:
        return ["rows", "in_order"]

    def process(self, inputs: StepInput) -> StepOutput:
        in_order = [row["n"] for row in inputs] == list(range(len(inputs)))
        yield [{"n": 0, "text": "", "rows": len(inputs), "in_order": in_order}]


class Raising(CountAll):
    """Counts nothing."""

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    def process(self, inputs: StepInput) -> StepOutput:
        raise ValueError("it cannot count")
        yield []


class Placed(Gated):
    """Doubles, and says on which node of Ray."""

    @property
    def outputs(self) -> StepColumns:
        return ["doubled", "node"]

    def process(self, inputs: StepInput) -> StepOutput:
        for rows in super().process(inputs):
            yield [{**row, "node": os.environ["DISTILMQ_RAY_NODE"]} for row in rows]

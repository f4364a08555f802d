"""Steps that behave and misbehave, for worker processes to run; they are imported there by name."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from distilmq.errors import DrainedError
from distilmq.models.requests.answers import current_answers
from distilmq.steps.base import GeneratorStep, GlobalStep, Step
from distilmq.typing import GeneratorStepOutput, StepColumns, StepOutput


def wait_for_file(path: str) -> None:
    """Returns once the file is there: how a test holds a step back."""
    while not Path(path).exists():
        time.sleep(0.005)


class Double(Step):
    """Doubles `n`; raises for some of them."""

    bad: tuple[int, ...] = ()

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    @property
    def outputs(self) -> StepColumns:
        return ["doubled"]

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        for row in inputs:
            row["doubled"] = 2 * row["n"]
            if row["n"] in self.bad:
                raise ValueError(f"no {row['n']}")
        yield inputs


class Importing(Double):
    """Doubles; for some rows it imports a module."""

    module: str = "a_package_that_nobody_has"

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        if any(row["n"] in self.bad for row in inputs):
            import_module(self.module)
        yield [{**row, "doubled": 2 * row["n"]} for row in inputs]


class Gated(Double):
    """Doubles once a file is there; says by another that it has begun."""

    gate: str
    begun: str = ""

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        if self.begun:
            Path(self.begun).write_text(str(os.getpid()))
        wait_for_file(self.gate)
        yield from super().process(inputs)


class Leaver(Double):
    """Says by a file that it was unloaded."""

    told: str

    def unload(self) -> None:
        Path(self.told).write_text("unloaded")


class Unloadable(Double):
    """Cannot be loaded."""

    def load(self) -> None:
        super().load()
        raise RuntimeError("no model here")


class NeverLoaded(Double):
    """Is loading for ever."""

    def load(self) -> None:
        threading.Event().wait()


class Raising(Double):
    """Raises what is no `Exception`."""

    how: str

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        if any(row["n"] == 1 for row in inputs):
            if self.how == "exit":
                sys.exit(3)
            raise KeyboardInterrupt
        yield from super().process(inputs)


class Dying(Double):
    """Ends its process."""

    how: str

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        print("about to die", file=sys.stderr)
        if self.how == "segfault":
            ctypes.string_at(0)
        os._exit(9)
        yield inputs


class Mute(Double):
    """Closes standard output."""

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        sys.stdout.close()
        yield from super().process(inputs)


class Hogging(Double):
    """Holds the interpreter's lock, as C code may."""

    seconds: float

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        ctypes.PyDLL(None).usleep(int(self.seconds * 1e6))
        yield from super().process(inputs)


class Starting(Double):
    """Starts a process of its own in `load()` and leaves it behind."""

    told: str

    def load(self) -> None:
        super().load()
        child = subprocess.Popen(["sleep", "600"])
        Path(self.told).write_text(str(child.pid))


class Secretive(Step):
    """Shows what it was given."""

    api_key: SecretStr | None = None

    @property
    def outputs(self) -> StepColumns:
        return ["key", "folder"]

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        key = self.api_key.get_secret_value() if self.api_key else None
        yield [{**row, "key": key, "folder": str(self.artifacts_directory)} for row in inputs]


class Chatty(Double):
    """Logs and prints."""

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        print("printed by the step")
        self._logger.debug("nobody sees this")
        self._logger.warning("there are %d rows", len(inputs))
        yield from super().process(inputs)


class Asking(Step):
    """Asks a model that is not there: its answers come from the book, or are made up and kept."""

    @property
    def outputs(self) -> StepColumns:
        return ["answer"]

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        book = current_answers.get()
        assert book is not None
        for place, row in enumerate(inputs):
            key = str(row["n"]).encode()
            known = book.find(place, key)
            answer = known.data if known is not None else None
            if answer is None:
                if book.draining():
                    raise DrainedError("draining")
                answer = b"new"
                book.keep(place, key, answer)
            row["answer"] = answer
            if row["n"] == 13:
                raise ValueError("13")
        yield inputs


class Counting(GeneratorStep):
    """Counts up to `total`."""

    total: int
    says_last: bool = True

    @property
    def outputs(self) -> StepColumns:
        return ["n"]

    def process(self, offset: int = 0) -> GeneratorStepOutput:
        for start in range(offset, self.total, self.batch_size or 1):
            stop = min(self.total, start + (self.batch_size or 1))
            yield [{"n": n} for n in range(start, stop)], self.says_last and stop == self.total


class Total(GlobalStep):
    """Adds up all rows."""

    @property
    def outputs(self) -> StepColumns:
        return ["total"]

    def process(self, inputs: Any) -> StepOutput:  # type: ignore[override]
        if not inputs:
            raise ValueError("nothing to add up")
        yield [{"total": sum(row["n"] for row in inputs)}]


class Pairing(Step):
    """A join of row by row."""

    equal_inputs = True

    @property
    def outputs(self) -> StepColumns:
        return ["pair"]

    def process(self, *inputs: Any) -> StepOutput:
        yield [{"n": a["n"], "pair": [a["n"], b["n"]]} for a, b in zip(*inputs, strict=True)]

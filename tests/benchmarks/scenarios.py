"""One measured run of a pipeline, by distilmq or by distilabel, in a process of its own: prints one JSON line.

    python scenarios.py LIBRARY SCENARIO ROWS

The file imports nothing of ours besides the library it is told to, so that the peer's own environment can run
it; its classes stand at the top and its annotations are not quoted, because the peer needs both. `datasets`
is imported before the clock starts, for all alike.
"""

import importlib
import json
import os
import sys
import tempfile
import time
from typing import Any

import datasets

LIBRARY = sys.argv[1]
CACHE = tempfile.TemporaryDirectory(prefix="distilmq-bench-")
os.environ["DISTILMQ_CACHE_DIR"] = os.environ["DISTILABEL_CACHE_DIR"] = CACHE.name
BATCH = 50

steps = importlib.import_module(f"{LIBRARY}.steps")
pipelines = importlib.import_module(f"{LIBRARY}.pipeline")
StepInput = steps.StepInput


def row(number: int, size: int) -> dict[str, Any]:
    """A row whose text is `size` bytes long."""
    return {"id": number, "text": (f"{number:08d} " * (size // 9 + 1))[:size]}


class Rows(steps.GeneratorStep):
    """Gives `total` rows with texts of `size` bytes."""

    total: int
    size: int

    @property
    def outputs(self) -> list[str]:
        return ["id", "text"]

    def process(self, offset: int = 0) -> Any:
        for start in range(offset, self.total, self.batch_size):
            end = min(start + self.batch_size, self.total)
            yield [row(number, self.size) for number in range(start, end)], end == self.total


class Same(steps.Step):
    """Does nothing."""

    def process(self, *inputs: StepInput) -> Any:
        yield inputs[0]


class Answer(steps.Step):
    """What a text generation does, without the model."""

    @property
    def inputs(self) -> list[str]:
        return ["text"]

    @property
    def outputs(self) -> list[str]:
        return ["generation", "model_name"]

    def process(self, *inputs: StepInput) -> Any:
        yield [{**item, "generation": item["text"][:20], "model_name": self.name} for item in inputs[0]]


def chain(rows: int, size: int) -> Any:
    """A generator and two steps that do nothing."""
    with pipelines.Pipeline("bench-chain") as pipeline:
        Rows(name="load", total=rows, size=size, batch_size=BATCH) >> Same(name="first") >> Same(name="second")
    return pipeline


def diamond(rows: int) -> Any:
    """The guide's pipeline without its models: a generator, three steps, one that groups."""
    with pipelines.Pipeline("bench-diamond") as pipeline:
        load = Rows(name="load", total=rows, size=200, batch_size=BATCH)
        group = steps.GroupColumns(
            name="group", columns=["generation", "model_name"], output_columns=["generations", "model_names"]
        )
        load >> [Answer(name=f"answer_{number}") for number in range(3)] >> group
    return pipeline


def main() -> None:
    """Measures from `run()` to its Distiset."""
    scenario, rows = sys.argv[2], int(sys.argv[3])
    pipeline = diamond(rows) if scenario == "diamond" else chain(rows, int(scenario.removeprefix("chain-")))
    start = time.perf_counter()
    distiset = pipeline.run(use_cache=False)
    seconds = time.perf_counter() - start
    if len(distiset["default"]["train"]) != rows:
        raise SystemExit(f"{len(distiset['default']['train'])} rows came out of {rows}")
    print("RESULT " + json.dumps({"seconds": seconds, "datasets": datasets.__version__}), flush=True)
    CACHE.cleanup()


if __name__ == "__main__":
    main()

"""What distilmq and distilabel do with the same small pipeline in an awkward case: prints the rows as JSON.

    python behaviour.py LIBRARY CASE CACHE [FACTOR]

Written for both, like `scenarios.py`: see there for what that asks of the file.
"""

import importlib
import json
import os
import sys
from typing import Any

LIBRARY, CASE = sys.argv[1:3]
FACTOR = int(sys.argv[4]) if len(sys.argv) > 4 else 1
os.environ["DISTILMQ_CACHE_DIR"] = os.environ["DISTILABEL_CACHE_DIR"] = sys.argv[3]

steps = importlib.import_module(f"{LIBRARY}.steps")
pipelines = importlib.import_module(f"{LIBRARY}.pipeline")
StepInput = steps.StepInput


class Work(steps.Step):
    """Makes `y` from `x`, in the manner of the case."""

    case: str
    factor: int = 1
    marker: str

    @property
    def inputs(self) -> list[str]:
        return ["x"]

    @property
    def outputs(self) -> list[str]:
        return ["y"]

    def process(self, inputs: StepInput) -> Any:
        if self.case == "dies" and not os.path.exists(self.marker):
            open(self.marker, "w").close()
            os._exit(1)
        if self.case == "raises":
            yield [{**row, "y": 6 // row["x"]} for row in inputs]
        elif self.case == "drops all":
            yield [{**row, "y": 1} for row in inputs if row["x"] > 9]
        elif self.case == "yields twice":
            yield [{**row, "y": 1} for row in inputs[:1]]
            yield [{**row, "y": 2} for row in inputs[1:]]
        else:
            yield [{**row, "y": row["x"] * self.factor} for row in inputs]


class Same(steps.Step):
    """Does nothing."""

    def process(self, inputs: StepInput) -> Any:
        yield inputs


def main() -> None:
    """Runs the case once; `FACTOR` is what a second run changes."""
    data = [{"x": number + (FACTOR if CASE == "new data" else 0)} for number in range(4)]
    factor = 1 if CASE == "new data" else FACTOR
    marker = os.path.join(sys.argv[3], "died")
    with pipelines.Pipeline("behaviour") as pipeline:
        load = steps.LoadDataFromDicts(name="load", data=data, batch_size=4)
        load >> Work(name="work", case=CASE, factor=factor, marker=marker, input_batch_size=2) >> Same(name="same")
    distiset = pipeline.run()
    pairs = [[row["x"], row["y"]] for row in distiset["default"]["train"]] if "default" in distiset else []
    print("RESULT " + json.dumps({"pairs": pairs}), flush=True)


if __name__ == "__main__":
    main()

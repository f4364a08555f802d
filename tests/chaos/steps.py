"""Steps of the pipeline that chaos is let loose on, imported by name; what they give is told by plain functions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from distilmq.steps import GlobalStep, Step, StepColumns, StepInput, StepOutput

Row = dict[str, Any]
Rows = list[Row]


class Doubling(Step):
    """A branch of the fork: slow enough to be interrupted; keeps a file of what it began with."""

    pause: float

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    @property
    def outputs(self) -> StepColumns:
        return ["doubled", "text"]

    def process(self, inputs: StepInput) -> StepOutput:
        self.save_artifact("seen", lambda folder: (folder / "first.txt").write_text(str(inputs[0]["n"])))
        time.sleep(self.pause)
        yield doubled(inputs)


class Joining(Step):
    """Puts both branches together."""

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    @property
    def outputs(self) -> StepColumns:
        return ["n", "doubled", "text", "generation"]

    def process(self, *inputs: StepInput) -> StepOutput:
        yield joined(*inputs)


class Coloring(Step):
    """A routed branch: signs each row."""

    pause: float

    @property
    def outputs(self) -> StepColumns:
        return ["colors"]

    def process(self, inputs: StepInput) -> StepOutput:
        time.sleep(self.pause)
        yield colored(self.name or "", inputs)


class Mixing(Step):
    """Puts the routed branches together, of which each batch has been to two."""

    @property
    def inputs(self) -> StepColumns:
        return ["n", "colors"]

    def process(self, *inputs: StepInput) -> StepOutput:
        yield mixed(*inputs)


class Ranking(GlobalStep):
    """Needs all rows at once."""

    @property
    def inputs(self) -> StepColumns:
        return ["n"]

    @property
    def outputs(self) -> StepColumns:
        return ["rank", "of"]

    def process(self, inputs: StepInput) -> StepOutput:
        yield ranked(inputs)


class Closing(Step):
    """Comes last."""

    @property
    def inputs(self) -> StepColumns:
        return ["rank"]

    @property
    def outputs(self) -> StepColumns:
        return ["closed"]

    def process(self, inputs: StepInput) -> StepOutput:
        yield closed(inputs)


def doubled(rows: Sequence[Row]) -> Rows:
    """What the first branch gives: a text of its own for each row, long enough to fill buffers."""
    return [{**row, "doubled": 2 * row["n"], "text": random.Random(row["n"]).randbytes(1000).hex()} for row in rows]


def asked(rows: Sequence[Row]) -> Rows:
    """What the model says, of which chaos only looks at the words."""
    return [{**row, "generation": answer(row["instruction"])} for row in rows]


def answer(prompt: str) -> str:
    """Of the model."""
    return prompt.upper()


def joined(*inputs: Sequence[Row]) -> Rows:
    """What the join gives; it is not told which branch is which."""
    kept = ("n", "doubled", "text", "generation")
    rows: Iterable[tuple[Row, ...]] = zip(*inputs, strict=True)
    return [{name: value for each in both for name, value in each.items() if name in kept} for both in rows]


def colored(color: str, rows: Sequence[Row]) -> Rows:
    """What a routed branch gives."""
    return [{**row, "colors": [color]} for row in rows]


def mixed(*inputs: Sequence[Row]) -> Rows:
    """What the second join gives; rows that do not belong together come out as what they are."""
    rows: Iterable[tuple[Row, ...]] = zip(*inputs, strict=True)
    return [
        {
            **each[0],
            "n": each[0]["n"] if len({row["n"] for row in each}) == 1 else [row["n"] for row in each],
            "colors": sorted(color for row in each for color in row["colors"]),
        }
        for each in rows
    ]


def ranked(rows: Sequence[Row]) -> Rows:
    """What the global step gives."""
    return [{**row, "rank": place, "of": len(rows)} for place, row in enumerate(rows)]


def closed(rows: Sequence[Row]) -> Rows:
    """What the last step gives."""
    return [{**row, "closed": row["rank"] + row["doubled"]} for row in rows]


GIVEN: dict[str, Callable[..., Rows]] = {
    "double": doubled,
    "ask": asked,
    "join": joined,
    **{color: lambda *inputs, color=color: colored(color, *inputs) for color in ("red", "green", "blue")},
    "mix": mixed,
    "rank": ranked,
    "close": closed,
}
"""Step to what it gives for its inputs."""

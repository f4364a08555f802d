"""What the steps of a drawn pipeline do: small deterministic functions, the same for the world and the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from zlib import crc32

Manner = Literal["map", "filter", "expand", "summary", "nothing"]
Values = list[str]


def digest(*parts: object) -> int:
    """A number that depends on all parts and on nothing else."""
    return crc32(repr(parts).encode())


@dataclass(frozen=True)
class Behaviour:
    """Per step: how many rows it makes of one, which rows make it raise or die; per generator: how many rows."""

    manners: Mapping[str, Manner] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Rows per batch of a generator."""
    failing: int = 0
    """One row in so many makes a normal step raise; 0 for none."""
    poison: frozenset[str] = frozenset()
    """Rows (of any step's input) that kill the process."""
    needing: int = 0
    """One row in so many makes a step need a package that some hosts lack; 0 for none."""
    choices: Literal["any", "all", "one", "none"] = "any"

    def process(self, step: str, inputs: Mapping[str, Sequence[str]]) -> list[str] | list[Values]:
        """What a step gives; of a generator, all its batches."""
        if not inputs:
            return self.batches(step)
        manner = self.manners.get(step, "map")
        rows = [
            tuple((name, each[i] if i < len(each) else None) for name, each in inputs.items())
            for i in range(longest(inputs))
        ]
        if manner == "summary":
            return [f"{step}:{digest(step, rows):08x}"]
        if manner == "nothing":
            return []
        return [value for row in rows for value in self._of_row(step, manner, row)]

    def batches(self, step: str) -> list[Values]:
        """All batches of a generator."""
        rows = [f"{step}:{row}" for row in range(self.rows.get(step, 0))]
        size = self.sizes[step]
        return [rows[at : at + size] for at in range(0, len(rows), size)]

    def choose(self, step: str, values: Sequence[str], successors: Sequence[str]) -> list[str]:
        """Which successors a batch goes to."""
        number = digest(step, values)
        if self.choices == "all":
            return list(successors)
        if self.choices == "none":
            return []
        if self.choices == "one":
            return [successors[number % len(successors)]]
        return [name for place, name in enumerate(successors) if number >> place & 1]

    def fails(self, step: str, row: object) -> bool:
        """Whether this row makes the step raise."""
        return bool(self.failing) and digest("fails", step, row) % self.failing == 0

    def kills(self, inputs: Mapping[str, Sequence[str]]) -> bool:
        """Whether one of these rows kills the process."""
        return any(value in self.poison for values in inputs.values() for value in values)

    def needs_package(self, step: str, inputs: Mapping[str, Sequence[str]]) -> bool:
        """Whether one of these rows, or a batch of a generator, makes the step need it."""
        values = [value for each in inputs.values() for value in each] or ["none"]
        return bool(self.needing) and any(digest("needs", step, value) % self.needing == 0 for value in values)

    def buried(self, step: str, inputs: Mapping[str, Sequence[str]]) -> str:
        """The row that stands for one that was given up."""
        return f"{step}:buried:{digest(sorted(inputs.items())):08x}"

    def _of_row(self, step: str, manner: Manner, row: tuple[tuple[str, str | None], ...]) -> list[str]:
        number = digest(step, row)
        if any(value in self.poison for _, value in row):
            return [self.buried(step, {name: [value] for name, value in row if value is not None})]
        if self.fails(step, row):
            return [f"{step}:failed:{number:08x}"]
        copies = {"filter": int(number % 3 > 0), "expand": number % 4}.get(manner, 1)
        return [f"{step}:{number:08x}.{copy}" for copy in range(copies)]


def longest(inputs: Mapping[str, Sequence[str]]) -> int:
    """Rows of the longest input."""
    return max((len(values) for values in inputs.values()), default=0)

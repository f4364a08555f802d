"""The awkward cases of `behaviour.py`: what each is, and the rows that are right."""

from __future__ import annotations

CASES: dict[str, tuple[str, list[list[int | None]]]] = {
    "raises": ("a step raises for one row of a batch", [[0, None], [1, 6], [2, 3], [3, 2]]),
    "dies": ("a worker process dies once", [[0, 0], [1, 1], [2, 2], [3, 3]]),
    "drops all": ("a filter drops all rows before another step", []),
    "yields twice": ("a step yields twice for a batch", [[0, 1], [1, 2], [2, 1], [3, 2]]),
    "a change": ("a step's parameter is changed, the script is run again", [[0, 0], [1, 2], [2, 4], [3, 6]]),
    "new data": ("the input data is changed, the script is run again", [[2, 2], [3, 3], [4, 4], [5, 5]]),
}
"""Case to what it is and the pairs of `x` and `y` that should come out of its last run."""

TWICE = ("a change", "new data")
"""Cases of which the script is run twice, with another factor."""

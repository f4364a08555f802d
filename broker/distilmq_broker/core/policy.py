"""How often, how many, how long: the few numbers that decide in doubt."""

from __future__ import annotations

from distilmq.protocol.plan import StepSpec

DEATHS = 3
"""A batch that so many workers died of is halved; a half of it after one more."""
LOAD_DEATHS = 3
"""A step whose processes die so often in `load()`, with no success between, ends the run."""
START_DEATHS = 5
"""So many processes in a row that end before they say Hello end the run."""
WINDOW = 2
"""Batches that a generator is asked for ahead."""
MISSED_BEATS = 2
"""A batch that so many heartbeats in a row do not list was never received."""
WHO_AFTER = 3
"""Every so many beats a process that has not said Ready is asked who it is: its Assign or Ready may be lost."""
STOP_GRACE = 0.5
"""Seconds past the stop timeout in which workers' last words still count."""
ROWS_HELD = 128
"""Rows that a process of a step with a model may hold: 4 times the width at which a new limiter starts."""
MOST_HELD = 16
"""Batches that any process may hold."""


def credit(spec: StepSpec) -> int:
    """How many batches one process of the step may hold."""
    if spec.kind == "generator":
        return WINDOW
    if spec.kind == "global":
        return 1
    if spec.models:
        return max(2, min(MOST_HELD, -(-ROWS_HELD // max(1, spec.size))))
    return 2


def deaths_allowed(part: int) -> int:
    """How many workers may die of a batch, or of a part of a halved one."""
    return 1 if part else DEATHS

"""What is done to whom, and when: all of it follows from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

Kind = Literal[
    "kill broker",
    "kill coordinator",
    "kill host",
    "kill process",
    "kill machine",
    "freeze broker",
    "freeze coordinator",
    "freeze host",
    "freeze process",
    "freeze machine",
    "cut link",
    "break link",
    "leave",
    "namesake",
]

KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]  # of a Literal
EVERY_TIME: tuple[Kind, ...] = ("kill broker", "kill coordinator", "kill host", "kill process")
"""Each seed has one of these at least; of the others a few."""
OTHERS = 4
HOSTS = 3
LIVENESS = 3.0
"""Seconds of silence after which hosts are given up, in these runs."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done."""

    kind: Kind
    at: float
    """When: the share of the run's batches that are recorded by then."""
    whom: float
    """Which of those that there are, from 0 up to 1."""
    seconds: float
    """How long it lasts, or how long what was killed stays away."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that is done in one run.

    Attributes:
        slots: of each host.
        faults: in order.
        forgetful: seconds after a broker's restart for which nobody tells it the model's key again.
    """

    slots: tuple[int, ...]
    faults: tuple[Fault, ...]
    forgetful: float


def drawn(seed: int) -> Schedule:
    """The schedule of a seed."""
    random = Random(seed)
    kinds = [*EVERY_TIME, *random.sample(KINDS, OTHERS)]
    random.shuffle(kinds)
    moments = sorted(random.uniform(0.03, 0.95) for _ in kinds)
    return Schedule(
        slots=tuple(random.randint(3, 5) for _ in range(HOSTS)),
        faults=tuple(
            Fault(kind, round(at, 3), round(random.random(), 3), round(random.uniform(0.0, 1.5) * LIVENESS, 2))
            for kind, at in zip(kinds, moments, strict=True)
        ),
        forgetful=round(random.uniform(0.0, 4.0), 2),
    )

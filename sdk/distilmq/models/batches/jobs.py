"""What batch jobs are made of, and how requests are divided into them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a request of a row is: in a batch job, or in none yet."""

    occurrence: int
    """Which of several equal requests of the row it is."""
    job: str = ""
    """What we call the job; empty for none."""
    id: str = ""
    """What the provider calls it; empty while that is not known."""
    number: int = 0
    """What the request is called in the job."""
    tries: int = 0
    """In how many jobs it has been, this one included."""
    size: int = 0
    """Requests in the job."""
    planned: float = 0.0
    """When the job was planned, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a job, as its provider takes it."""

    custom_id: str
    url: str
    """The path of the API that it would be sent to by itself."""
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """How a job stands."""

    over: bool
    """Nothing more will be done."""
    done: int = 0
    total: int = 0
    raw: Any = field(default=None, repr=False)
    """What the provider said."""


@dataclass(frozen=True, slots=True)
class Results:
    """What came of a job that is over.

    Attributes:
        outcomes: by a request's number, the provider's answer, or the error that it gave instead.
        rest: what becomes of requests that have neither; None: they were not begun, and are sent again.
        full: the provider did not take the job since too much is in its queue.
    """

    outcomes: Mapping[int, Any]
    rest: Exception | None = None
    full: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What was found by a job's name.

    Attributes:
        id: what the provider calls it; None when it was not found.
        sure: False while it cannot be told yet whether some job is the one.
    """

    id: str | None
    sure: bool = True


def custom_id(job: str, number: int) -> str:
    """What a request is called at the provider: unique over all jobs, so that a job is known by it."""
    return f"{job}-{number}"


def number_in(job: str, name: str) -> int | None:
    """The number of a request; None for one of another job."""
    owner, _, number = name.rpartition("-")
    return int(number) if owner == job and number.isdecimal() else None


def lots(sizes: Sequence[int], *, most_requests: int, most_bytes: int) -> list[range]:
    """Divides requests, in their order, into as few jobs as the bounds allow; one that is too large is alone.

    Args:
        sizes: of each request, in bytes.
        most_requests: in a job.
        most_bytes: of a job.
    """
    divided: list[range] = []
    start, held = 0, 0
    for place, size in enumerate(sizes):
        if place > start and (place - start >= most_requests or held + size > most_bytes):
            divided.append(range(start, place))
            start, held = place, 0
        held += size
    if sizes:
        divided.append(range(start, len(sizes)))
    return divided

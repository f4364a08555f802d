"""What is needed of a provider's batch API; one file here for each that has one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from distilmq.models.batches.jobs import Found, Line, Look, Results


class BatchProvider(Protocol):
    """A provider's batch jobs. All errors are `RequestError` or `StepFatalError`, as those of single requests are."""

    name: str
    """As users know it."""
    most_requests: int
    """In a job."""
    most_bytes: int
    """Of a job."""

    async def start(self, job: str, lines: Sequence[Line]) -> str:
        """Has a job begun; returns what the provider calls it.

        Args:
            job: what we call it: `find` finds it by this.
            lines: its requests.
        """
        ...

    async def find(self, job: str, *, planned: float, size: int, known: Collection[str]) -> Found:
        """Looks for a job that may have been begun, by somebody who died before it could say so.

        Args:
            job: what we call it.
            planned: it was not begun before this, in seconds since 1970.
            size: its requests.
            known: what the provider calls jobs that are others.
        """
        ...

    async def look(self, id: str) -> Look:
        """How a job stands."""
        ...

    async def results(self, job: str, look: Look) -> Results:
        """What came of a job that is over."""
        ...

    async def cancel(self, id: str) -> None:
        """Has a job end early; what is done of it by then can be had. One that is over is left as it is."""
        ...

    async def tidy(self, look: Look) -> None:
        """Deletes the files that a job which is over has left; those that are gone already are none."""
        ...

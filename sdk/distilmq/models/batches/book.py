"""Which requests of a batch are in batch jobs: known before they are sent, so that none is sent twice.

Whoever runs `process` puts a `JobBook` into `current_jobs`, beside the answers that the batch has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from distilmq.models.batches.jobs import Seat


@dataclass(frozen=True, slots=True)
class Planned:
    """A request that is about to go to the provider in a job."""

    row: int
    """Place in the list given to `process`."""
    key: bytes
    occurrence: int
    number: int
    tries: int


class JobBook(Protocol):
    """The batch jobs of one call of `process`. `seat` is called from its thread, the rest from any."""

    def seat(self, row: int, key: bytes) -> Seat:
        """Where the next request of this row that has no answer is; counts the occurrences itself.

        Args:
            row: place in the list given to `process`.
            key: as `request_key` gives it.
        """
        ...

    def plan(self, job: str, size: int, requests: Sequence[Planned], told: Callable[[bool], None]) -> None:
        """Records that requests are about to go into a job.

        Args:
            job: what we call it.
            size: requests in it, those of other batches included.
            requests: those of this batch.
            told: called, from any thread, when that is durable; with False when nobody waits for them any more.
        """
        ...

    def started(self, job: str, id: str) -> None:
        """Records that a provider has taken a job."""
        ...

    def ended(self, job: str) -> None:
        """Records that a job is over."""
        ...

    def when_recorded(self, then: Callable[[], None]) -> None:
        """Has something called, from any thread, when all that came of the batch is recorded; or never."""
        ...


class LooseJobs:
    """Where no worker runs the step: nothing is recorded.

    Args:
        begun: told what the provider calls each job that it has taken.
    """

    def __init__(self, begun: Callable[[str], None]) -> None:
        self._begun = begun

    def seat(self, row: int, key: bytes) -> Seat:
        """In no job."""
        return Seat(occurrence=0)

    def plan(self, job: str, size: int, requests: Sequence[Planned], told: Callable[[bool], None]) -> None:
        """Says that they may go."""
        told(True)

    def started(self, job: str, id: str) -> None:
        """Says so."""
        self._begun(id)

    def ended(self, job: str) -> None:
        """Nothing to do."""

    def when_recorded(self, then: Callable[[], None]) -> None:
        """Never, as far as anybody knows."""


current_jobs: ContextVar[JobBook | None] = ContextVar("current_jobs", default=None)
"""Of the batch in hand; None where no worker runs the step."""

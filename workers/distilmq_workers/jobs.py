"""Which requests of the batches in hand are in providers' batch jobs: recorded before they are sent."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from distilmq.models.batches.book import Planned
from distilmq.models.batches.jobs import Seat
from distilmq.protocol.messages import Job, JobEnded, JobKept, JobRequest, JobStarted, Lease
from distilmq.protocol.packing import UnpackError, unpack
from distilmq.protocol.seq_no import SeqNo
from distilmq_workers import events
from distilmq_workers.book import BatchAnswers

Entry = tuple[int, bytes, Seat]
"""A request of a batch: the row's place in it, its key, and where it is."""


class JobOffice:
    """Between the models of this process and the coordinator.

    Args:
        session: of this process.
        put: takes what there is to say, from any thread.
    """

    def __init__(self, session: str, put: Callable[[events.Event], None]) -> None:
        self.session = session
        self.put = put
        self._batches: dict[tuple[SeqNo, int], BatchJobs] = {}
        self._unrecorded: dict[tuple[SeqNo, int], BatchJobs] = {}
        """Batches that are done with, and for whose record somebody waits."""

    def open(self, lease: Lease, entries: Iterable[Entry]) -> BatchJobs:
        """A batch is begun, with what was recorded of its jobs."""
        batch = self._batches[lease.seq_no, lease.part] = BatchJobs(lease, entries, self)
        return batch

    def close(self, lease: Lease) -> None:
        """A batch is done with."""
        batch = self._batches.pop((lease.seq_no, lease.part), None)
        if batch is not None and batch.awaited:
            self._unrecorded[lease.seq_no, lease.part] = batch

    def recorded(self, lease: Lease) -> None:
        """The coordinator has recorded what came of a batch."""
        batch = self._unrecorded.pop((lease.seq_no, lease.part), None)
        if batch is not None:
            batch.recorded()

    def kept(self, kept: JobKept) -> None:
        """The coordinator has recorded which requests of a batch are in a job."""
        batch = self._batches.get((kept.lease.seq_no, kept.lease.part))
        if batch is not None:
            batch.kept(kept)


class BatchJobs:
    """The requests of one batch that are in jobs; they outlast the halves in which a failing batch is tried."""

    def __init__(self, lease: Lease, entries: Iterable[Entry], office: JobOffice) -> None:
        self._lease = lease
        self._office = office
        self._seats: defaultdict[tuple[int, bytes], dict[int, Seat]] = defaultdict(dict)
        self._told: dict[str, Callable[[bool], None]] = {}
        self.awaited: list[Callable[[], None]] = []
        """To be called when what came of the batch is recorded."""
        for place, key, seat in entries:
            self._seats[place, key][seat.occurrence] = seat

    def page(self, answers: BatchAnswers, places: Sequence[int]) -> JobPage:
        """The book for one call of `process` with the rows at these places."""
        return JobPage(self, answers, places)

    def seats(self, place: int, key: bytes) -> dict[int, Seat]:
        """Where the equal requests of a row are, by occurrence."""
        return self._seats.get((place, key), {})

    def plan(self, job: str, size: int, requests: Sequence[JobRequest], told: Callable[[bool], None]) -> None:
        """Has recorded that requests are about to go into a job."""
        self._told[job] = told
        for each in requests:
            seat = Seat(each.occurrence, job, "", each.number, each.tries, size, time.time())
            self._seats[each.row, each.key][each.occurrence] = seat
        said = Job(session=self._office.session, lease=self._lease, job=job, size=size, requests=tuple(requests))
        self._office.put(events.JobPlanned(said))

    def kept(self, kept: JobKept) -> None:
        """It is recorded."""
        told = self._told.pop(kept.job, None)
        if told is not None:
            told(kept.wanted)

    def started(self, job: str, id: str) -> None:
        """A provider has taken a job."""
        for seats in self._seats.values():
            for occurrence, seat in seats.items():
                if seat.job == job:
                    seats[occurrence] = replace(seat, id=id)
        self._say(JobStarted(session=self._office.session, step=self._lease.step, job=job, id=id))

    def ended(self, job: str) -> None:
        """A job is over."""
        self._say(JobEnded(session=self._office.session, step=self._lease.step, job=job))

    def recorded(self) -> None:
        """What came of the batch is recorded."""
        for then in self.awaited:
            then()

    def _say(self, news: JobStarted | JobEnded) -> None:
        self._office.put(events.JobChanged(news))


class JobPage:
    """What models see of it during one call of `process`; see `distilmq.models.batches.book.JobBook`."""

    def __init__(self, batch: BatchJobs, answers: BatchAnswers, places: Sequence[int]) -> None:
        self._batch = batch
        self._answers = answers
        self._places = places
        self._seating = threading.Lock()
        self._given: defaultdict[tuple[int, bytes], set[int]] = defaultdict(set)

    def seat(self, row: int, key: bytes) -> Seat:
        """Where the next request of this row that has no answer is."""
        with self._seating:  # a model may ask several others, each in a thread of its own
            place, given = self._places[max(row, 0)], self._given[row, key]  # of any row: that of the answer
            seats = self._batch.seats(place, key)
            gone = {*self._answers.answered(place, key), *given}
            free = [occurrence for occurrence in sorted(seats) if occurrence not in gone]
            # One that is in a job, or the next one that is in none.
            occurrence = free[0] if free else max({*gone, *seats}, default=-1) + 1
            given.add(occurrence)
            return seats.get(occurrence, Seat(occurrence))

    def plan(self, job: str, size: int, requests: Sequence[Planned], told: Callable[[bool], None]) -> None:
        """Records that requests are about to go into a job."""
        named = [
            JobRequest(
                row=self._places[each.row],
                key=each.key,
                occurrence=each.occurrence,
                number=each.number,
                tries=each.tries,
            )
            for each in requests
        ]
        self._batch.plan(job, size, named, told)

    def started(self, job: str, id: str) -> None:
        """Records that a provider has taken a job."""
        self._batch.started(job, id)

    def ended(self, job: str) -> None:
        """Records that a job is over."""
        self._batch.ended(job)

    def when_recorded(self, then: Callable[[], None]) -> None:
        """Has something called when all that came of the batch is recorded."""
        self._batch.awaited.append(then)


def recorded_jobs(frame: bytes) -> list[Entry]:
    """The requests in jobs that a batch came with.

    Raises:
        ValueError: the frame holds something else. To go on without them would be to pay for them again.
    """
    try:
        entries: Any = unpack(frame)
        return [
            (
                int(row),
                bytes(key),
                Seat(int(occurrence), str(job), str(id), int(number), int(tries), int(size), float(planned)),
            )
            for row, key, occurrence, job, id, number, tries, size, planned in entries
        ]
    except (UnpackError, TypeError) as error:
        raise ValueError(f"what is said of batch jobs cannot be read: {error}") from error

"""Batch jobs at providers: which requests are in which, recorded before they are sent; and which of them run."""

from __future__ import annotations

from distilmq.protocol.messages import JobKept
from distilmq_broker.core import events
from distilmq_broker.core.facts import JobEnded, JobPlanned, JobStarted, PlannedRequest
from distilmq_broker.core.leases import Work
from distilmq_broker.core.run import Run


class Jobs:
    """Records what step processes say about batch jobs.

    A job is planned before it is sent, and found by its name afterwards: whatever dies between, none is sent twice.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def planned(self, event: events.JobPlanned) -> None:
        """Requests of a batch are about to go into a job; who asks is told when that is recorded."""
        state = self._run.flow.step(event.lease.step)
        work = None if state is None else self._run.flow.find(state, (event.lease.seq_no, event.lease.part))
        if work is None:
            self._run.send(event.session, JobKept(lease=event.lease, job=event.job, wanted=False))
            return
        requests = _named(work, event)
        self._run.outbox.record(JobPlanned(event.lease.step, event.job, event.size, requests))
        self._run.send(event.session, JobKept(lease=event.lease, job=event.job))

    def started(self, event: events.JobStarted) -> None:
        """A provider has taken a job."""
        state = self._run.flow.step(event.step)
        if state is not None and state.jobs.get(event.job) != event.id:
            state.jobs[event.job] = event.id
            self._run.outbox.record(JobStarted(event.step, event.job, event.id))

    def ended(self, event: events.JobEnded) -> None:
        """A job is over."""
        state = self._run.flow.step(event.step)
        if state is not None and state.jobs.pop(event.job, None) is not None:
            self._run.outbox.record(JobEnded(event.step, event.job))


def _named(work: Work, event: events.JobPlanned) -> tuple[PlannedRequest, ...]:
    """The requests, by the rows that they are for; a row that the batch does not have is passed over."""
    return tuple(
        PlannedRequest(origin[0], origin[1], request.key, request.occurrence, request.number, request.tries)
        for request in event.requests
        if (origin := work.cut.origin(request.row)) is not None
    )

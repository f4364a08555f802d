"""Batch jobs: recorded before they are sent, named by the rows that they are for, known after a restart."""

from __future__ import annotations

import pytest

from distilmq.protocol.messages import JobKept, JobRequest, Lease
from distilmq_broker.core import events
from distilmq_broker.core.commands import Record, Send
from distilmq_broker.core.facts import JobEnded, JobPlanned, JobStarted, PlannedRequest
from tests.broker.core.scene import Scene, batches, generator, messages, only, plan_of, records, step

PLAN = plan_of(generator(size=4), step("ask", "load", size=6))


def request(row: int, number: int = 0) -> JobRequest:
    return JobRequest(row=row, key=b"k", occurrence=0, number=number, tries=1)


def asked(scene: Scene) -> tuple[str, Lease]:
    """A batch of six rows of two batches is with a worker."""
    first, second = batches(scene.staff())[:2]
    scene.done(first, 4)
    work = only(batches(scene.done(second, 4), "ask"))
    return work.session, work.lease


def test_a_job_is_recorded_by_its_rows_before_who_plans_it_hears_so() -> None:
    scene = Scene(PLAN)
    session, lease = asked(scene)
    scene.held_commits = True

    planned = scene.tell(events.JobPlanned(session, lease, "j", 9, (request(0, 3), request(5, 4))))
    committed = scene.commit()

    requests = (PlannedRequest((), 0, b"k", 0, 3, 1), PlannedRequest((1,), 1, b"k", 0, 4, 1))
    assert [type(command) for command in planned] == [Record]
    assert records(planned) == [JobPlanned("ask", "j", 9, requests)]
    assert messages(committed, JobKept) == [(session, JobKept(lease=lease, job="j"))]


def test_requests_of_a_batch_that_is_recorded_stay_out_of_jobs() -> None:
    scene = Scene(PLAN)
    session, lease = asked(scene)
    scene.tell(events.BatchDone(session, lease, 6, [b""] * 6))

    followed = scene.tell(events.JobPlanned(session, lease, "j", 1, (request(0),)))

    assert followed == [Send(session, JobKept(lease=lease, job="j", wanted=False))]


def test_a_row_that_the_batch_does_not_have_is_passed_over() -> None:
    scene = Scene(PLAN)
    session, lease = asked(scene)

    followed = scene.tell(events.JobPlanned(session, lease, "j", 3, (request(-1), request(2), request(6))))

    [fact] = records(followed, JobPlanned)
    assert [(each.source, each.source_row) for each in fact.requests] == [((), 2)]


def test_jobs_that_run_are_shown_until_they_are_over() -> None:
    scene = Scene(PLAN)
    asked(scene)

    started = scene.tell(events.JobStarted("ask", "j", "batch_1"))
    again = scene.tell(events.JobStarted("ask", "j", "batch_1"))
    running = scene.core.progress(0.0).steps[1]
    ended = scene.tell(events.JobEnded("ask", "j"))
    twice = scene.tell(events.JobEnded("ask", "j"))

    assert records(started) == [JobStarted("ask", "j", "batch_1")]
    assert records(ended) == [JobEnded("ask", "j")]
    assert again == twice == []
    assert (running.jobs, running.note) == (1, "1 batch job(s) at the provider")
    assert scene.core.progress(0.0).steps[1].jobs == 0


@pytest.mark.parametrize("ended", [False, True])
def test_a_restart_knows_which_jobs_run(ended: bool) -> None:
    facts = [JobStarted("ask", "j", "batch_1"), *([JobEnded("ask", "j")] if ended else [])]

    scene = Scene(PLAN, facts=facts)

    assert scene.core.progress(0.0).steps[1].jobs == (0 if ended else 1)


def test_a_job_that_is_begun_while_the_run_ends_is_recorded() -> None:
    scene = Scene(PLAN)
    asked(scene)
    scene.tell(events.KillRequested())

    followed = scene.tell(events.JobStarted("ask", "j", "batch_1"))

    assert records(followed) == [JobStarted("ask", "j", "batch_1")]

"""What the journal keeps of providers' batch jobs: which request is in which, and which of them run."""

from __future__ import annotations

from pathlib import Path

from distilmq_broker.core.facts import JobEnded, JobPlanned, JobStarted, PlannedRequest, Slice
from tests.broker.recorded import journal_in, payload_of, recorded

SLICES = (Slice("load", (1,), 1, 4),)


def planned(job: str, *rows: int, step: str = "ask", number: int = 0) -> JobPlanned:
    """A job with one request of each of some rows of the batch `(1,)` above."""
    requests = tuple(PlannedRequest((1,), row, b"k", 0, number + place, 1) for place, row in enumerate(rows))
    return JobPlanned(step, job, len(rows), requests)


def test_requests_in_jobs_are_given_by_the_rows_of_a_batch(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.append(planned("j1", 0, 1, 2))
        journal.append(JobStarted("ask", "j1", "batch_1"))
        journal.append(planned("j2", 2, number=7))

        found = [entry[:8] for entry in journal.in_jobs("ask", SLICES)]

    assert found == [(0, b"k", 0, "j1", "batch_1", 1, 1, 3), (1, b"k", 0, "j2", "", 7, 1, 1)], "of the latest job"


def test_jobs_that_run_are_known_when_the_run_is_opened_again(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        for job in ("j1", "j2", "j3", "j4"):
            journal.append(planned(job, int(job[1])))
            if job != "j3":
                journal.append(JobStarted("ask", job, job.upper()))
        journal.append(JobEnded("ask", "j1"))
        journal.append(planned("j5", 4))

    with journal_in(tmp_path) as journal:
        known = [fact for fact in journal.facts() if isinstance(fact, JobStarted)]
        found = [entry[3:5] for entry in journal.in_jobs("ask", (Slice("load", (1,), 0, 9),))]

    assert known == [JobStarted("ask", "j2", "J2")], "j4 has no request any more, j3 was not begun"
    assert found == [("j1", "J1"), ("j2", "J2"), ("j3", ""), ("j5", "")]


def test_requests_in_jobs_go_with_their_batch(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.append(planned("j1", 0, 1, 5))
        taken = ((Slice("load", (1,), 0, 2),),)
        journal.append(recorded("ask", 1, before="load", inputs=taken), payload_of("ask", 1))

        left = [entry[0] for entry in journal.in_jobs("ask", (Slice("load", (1,), 0, 9),))]

    assert left == [5]


def test_a_step_that_starts_anew_has_no_jobs(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.append(planned("j1", 0, 1))
        journal.forget_steps(["ask"])

        assert journal.in_jobs("ask", SLICES) == []

"""Which request of a batch is in which job: what was recorded, what has an answer, and what goes out next."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from distilmq.models.batches.book import Planned
from distilmq.models.batches.jobs import Seat
from distilmq.models.requests.answers import KnownAnswer
from distilmq.protocol import messages as m
from distilmq.protocol.packing import pack
from distilmq_workers import events
from distilmq_workers.book import BatchAnswers
from distilmq_workers.jobs import BatchJobs, Entry, JobOffice, recorded_jobs

LEASE = m.Lease(step="ask", seq_no=(4,))
KEY, OTHER = b"key", b"other"


def office() -> tuple[JobOffice, list[events.Event]]:
    said: list[events.Event] = []
    return JobOffice("me", said.append), said


def batch(
    entries: Sequence[Entry] = (), answered: Sequence[tuple[int, bytes, int]] = ()
) -> tuple[BatchJobs, BatchAnswers]:
    answers = BatchAnswers([(*each, b"yes") for each in answered], keep=lambda *_: None, draining=lambda: False)
    return office()[0].open(LEASE, entries), answers


def seat(occurrence: int, job: str = "j") -> Seat:
    return Seat(occurrence, job, "id", number=occurrence, tries=1, size=9, planned=1.0)


def test_equal_requests_of_a_row_take_the_seats_that_were_recorded_and_then_new_ones() -> None:
    jobs, answers = batch([(0, KEY, seat(0)), (0, KEY, seat(1)), (1, KEY, seat(0))])
    page = jobs.page(answers, [0, 1])

    assert [page.seat(0, KEY) for _ in range(3)] == [seat(0), seat(1), Seat(2)]
    assert [page.seat(1, KEY), page.seat(1, OTHER)] == [seat(0), Seat(0)]


def test_a_seat_whose_answer_is_known_is_not_taken_again() -> None:
    jobs, answers = batch([(0, KEY, seat(0)), (0, KEY, seat(1))], answered=[(0, KEY, 1)])
    page = jobs.page(answers, [0])

    assert [page.seat(0, KEY), page.seat(0, KEY)] == [seat(0), Seat(2)]


def test_an_answer_is_kept_as_the_one_it_was_asked_for_whichever_comes_first() -> None:
    kept: list[tuple[int, bytes, int, bytes]] = []
    answers = BatchAnswers([], keep=lambda *told: kept.append(told), draining=lambda: False)
    page = answers.page([5])

    page.keep(0, KEY, b"second", 1)
    page.keep(0, KEY, b"first", 0)

    assert kept == [(5, KEY, 1, b"second"), (5, KEY, 0, b"first")]
    again = answers.page([5])
    assert [again.find(0, KEY) for _ in range(3)] == [KnownAnswer(b"first", 0), KnownAnswer(b"second", 1), None]


def test_a_halved_batch_finds_its_requests_by_the_places_of_its_rows() -> None:
    jobs, answers = batch([(6, KEY, seat(0))])

    assert jobs.page(answers, [5, 6]).seat(1, KEY) == jobs.page(answers, [6]).seat(0, KEY) == seat(0)


def test_what_is_planned_is_said_and_told_of_when_it_is_recorded() -> None:
    desk, said = office()
    jobs = desk.open(LEASE, [])
    page = jobs.page(BatchAnswers([], keep=lambda *_: None, draining=lambda: False), [3, 4])
    told: list[bool] = []

    page.plan("j", 7, [Planned(row=1, key=KEY, occurrence=0, number=5, tries=2)], told.append)
    desk.kept(m.JobKept(lease=m.Lease(step="ask", seq_no=(9,)), job="j"))
    desk.kept(m.JobKept(lease=LEASE, job="another"))
    before = list(told)
    desk.kept(m.JobKept(lease=LEASE.model_copy(update={"attempt": 2}), job="j"))
    page.started("j", "batch_1")

    request = m.JobRequest(row=4, key=KEY, occurrence=0, number=5, tries=2)
    assert said == [
        events.JobPlanned(m.Job(session="me", lease=LEASE, job="j", size=7, requests=(request,))),
        events.JobChanged(m.JobStarted(session="me", step="ask", job="j", id="batch_1")),
    ]
    assert (before, told) == ([], [True])
    found = page.seat(1, KEY)
    assert (found.job, found.id, found.number, found.tries) == ("j", "batch_1", 5, 2)


def test_a_batch_that_is_not_wanted_is_told_so() -> None:
    desk, _ = office()
    told: list[bool] = []
    desk.open(LEASE, []).plan("j", 1, [], told.append)

    desk.kept(m.JobKept(lease=LEASE, job="j", wanted=False))

    assert told == [False]


def test_a_batch_that_is_done_with_hears_nothing_more() -> None:
    desk, _ = office()
    told: list[bool] = []
    desk.open(LEASE, []).plan("j", 1, [], told.append)

    desk.close(LEASE)
    desk.kept(m.JobKept(lease=LEASE, job="j"))

    assert told == []


def test_whoever_waits_for_the_record_of_a_batch_is_called_once_it_is_done_with_and_recorded() -> None:
    desk, _ = office()
    jobs, answers = desk.open(LEASE, []), BatchAnswers([], keep=lambda *_: None, draining=lambda: False)
    called: list[str] = []
    for name in ("first", "second"):
        jobs.page(answers, [0]).when_recorded(lambda name=name: called.append(name))

    desk.recorded(LEASE)
    early = list(called)
    desk.close(LEASE)
    desk.recorded(m.Lease(step="ask", seq_no=(9,)))
    desk.recorded(LEASE.model_copy(update={"attempt": 2}))
    desk.recorded(LEASE)

    assert early == []
    assert called == ["first", "second"]


def test_what_a_batch_came_with_is_read() -> None:
    assert recorded_jobs(pack([(3, KEY, 1, "j", "id", 1, 1, 9, 1.0)])) == [(3, KEY, seat(1))]


def test_what_cannot_be_read_is_no_reason_to_pay_twice() -> None:
    with pytest.raises(ValueError, match="batch jobs cannot be read"):
        recorded_jobs(b"\xc1")

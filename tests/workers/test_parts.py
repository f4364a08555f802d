"""The small parts of a step process: answers, halves, generators, errors as text, the way between threads."""

from __future__ import annotations

import select
import threading
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilmq.models.requests.answers import ANY_ROW, KnownAnswer
from distilmq.protocol.packing import pack
from distilmq_workers.book import BatchAnswers, recorded_answers
from distilmq_workers.events import TimePassed
from distilmq_workers.failures import describe, short
from distilmq_workers.generating import Generating
from distilmq_workers.halving import in_halves
from distilmq_workers.lanes import Lanes
from distilmq_workers.outbox import Outbox

Kept = list[tuple[int, bytes, int, bytes]]


def book_of(*recorded: tuple[int, bytes, int, bytes]) -> tuple[BatchAnswers, Kept]:
    kept: Kept = []
    return BatchAnswers(recorded, keep=lambda *answer: kept.append(answer), draining=lambda: False), kept


def test_equal_requests_of_a_row_are_counted() -> None:
    book, kept = book_of((0, b"k", 0, b"first"), (0, b"k", 1, b"second"))
    page = book.page(range(9))

    found = [page.find(0, b"k") for _ in range(3)]
    page.keep(0, b"k", b"third")

    assert found == [KnownAnswer(b"first", 0), KnownAnswer(b"second", 1), None]
    assert kept == [(0, b"k", 2, b"third")]


def test_an_answer_that_is_for_any_row_is_found_by_all_of_them_once_and_recorded_under_the_one_that_asks_alone() -> (
    None
):
    book, kept = book_of()
    page = book.page([4, 5, 6])
    for answer in (b"one", b"two"):
        assert page.find(ANY_ROW, b"k") is None
        page.keep(ANY_ROW, b"k", answer)
    again = book.page([4, 5, 6])
    found = [again.find(ANY_ROW, b"k") for _ in range(3)]

    first, last = book.page([4]).find(0, b"k"), book.page([6])
    second = [last.find(ANY_ROW, b"k") for _ in range(2)]
    after = book.page([5]).find(0, b"k")

    assert found == [KnownAnswer(b"one", 0), KnownAnswer(b"two", 1), None]
    assert first == KnownAnswer(b"one", 0)
    assert second == [KnownAnswer(b"two", 0), None]
    assert after is None, "the same prompt in two rows stays two requests"
    assert kept == [(4, b"k", 0, b"one"), (4, b"k", 1, b"two"), (6, b"k", 0, b"two")]


def test_an_answer_that_was_kept_is_found_by_the_next_call_and_not_by_this_one() -> None:
    book, kept = book_of()
    page = book.page(range(4, 9))
    assert page.find(1, b"k") is None
    page.keep(1, b"k", b"answer")

    assert page.find(1, b"k") is None
    assert book.page(range(5, 9)).find(0, b"k") == KnownAnswer(b"answer", 0)
    assert kept == [(5, b"k", 0, b"answer")]


def test_answers_that_cannot_be_read_are_none() -> None:
    assert recorded_answers(pack([[0, b"k", 0, b"a"]])) == [(0, b"k", 0, b"a")]
    assert recorded_answers(b"\xc1") == []
    assert recorded_answers(pack([1, 2])) == []


@given(st.integers(0, 40), st.sets(st.integers(0, 39)))
def test_halving_finds_exactly_the_rows_that_raise(rows: int, bad: set[int]) -> None:
    calls: list[tuple[int, int]] = []

    def call(start: int, stop: int) -> list[int]:
        calls.append((start, stop))
        if any(row in bad for row in range(start, stop)):
            raise ValueError
        return list(range(start, stop))

    pieces = in_halves(call, rows, passes=lambda error: False)

    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(rows))
    assert {piece.start for piece in pieces if piece.error} == {row for row in bad if row < rows}
    assert len(calls) == len(set(calls))


def test_an_error_that_is_no_rows_fault_passes() -> None:
    def call(start: int, stop: int) -> None:
        raise KeyError("all of it")

    with pytest.raises(KeyError):
        in_halves(call, 4, passes=lambda error: isinstance(error, KeyError))


def test_a_generator_that_raised_begins_anew_where_the_records_end() -> None:
    begun: list[int] = []

    def begin(offset: int):  # type: ignore[no-untyped-def]
        begun.append(offset)
        yield [{"n": offset}], False
        raise ValueError("broken")

    generating = Generating(begin)

    assert generating.take(0, 0) == ([{"n": 0}], False)
    with pytest.raises(ValueError, match="broken"):
        generating.take(1, 0)
    assert generating.take(1, 1) == ([{"n": 1}], False)
    assert begun == [0, 1]


def test_what_a_generator_yields_behind_the_last_batch_is_passed_over() -> None:
    generating = Generating(lambda offset: iter([([{"n": 0}], True), ([{"n": 1}], False)]))

    assert generating.take(0, 0) == ([{"n": 0}], True)
    assert generating.take(1, 1) == ([], True)


def raising() -> None:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError("outer\nsecond line") from error


def test_an_error_is_told_with_its_cause_and_on_one_line() -> None:
    with pytest.raises(ValueError, match="outer") as caught:
        raising()

    told = describe(caught.value)

    assert (told.type, told.message) == ("ValueError", "outer\nsecond line")
    assert "KeyError: 'inner'" in told.traceback
    assert "direct cause" in told.traceback
    assert short(told) == "ValueError: outer"
    assert told.pickled


class NoText(Exception):
    """Cannot be shown, and cannot be pickled."""

    def __str__(self) -> str:
        raise RuntimeError

    def __reduce__(self) -> str:
        raise RuntimeError


def test_an_error_that_misbehaves_is_told_all_the_same() -> None:
    told = describe(NoText())

    assert told.type == "NoText"
    assert told.pickled is None
    assert short(told)


def test_the_outbox_wakes_whoever_waits_and_loses_nothing() -> None:
    with closing(Outbox()) as outbox:
        event = TimePassed()
        threads = [threading.Thread(target=lambda: [outbox.put(event) for _ in range(500)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        taken = 0
        while taken < 2000:
            ready, _, _ = select.select([outbox.fileno()], [], [], 10)
            assert ready
            taken += len(outbox.take())
        for thread in threads:
            thread.join()

        assert taken == 2000
        assert outbox.take() == []
        assert select.select([outbox.fileno()], [], [], 0)[0] == []


def test_the_main_lane_does_its_jobs_in_order_and_quits() -> None:
    lanes = Lanes()
    done: list[int] = []
    for number in range(3):
        lanes.run_batch(lambda number=number: done.append(number))
    lanes.quit()

    lanes.serve()

    assert done == [0, 1, 2]


@pytest.mark.may_leak("lanes end with their process")
def test_lanes_beside_the_main_one_work_at_once() -> None:
    lanes = Lanes()
    lanes.widen(2)
    meeting = threading.Barrier(3)

    lanes.run_batch(lambda: (meeting.wait(10), None)[1])
    lanes.run_batch(lambda: (meeting.wait(10), None)[1])

    meeting.wait(10)

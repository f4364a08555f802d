"""The limit on requests at once: it grows while it is used, is cut once per burst, and stops at what brings nothing."""

from __future__ import annotations

import heapq

from hypothesis import given
from hypothesis import strategies as st

from distilmq.models.requests.concurrency import CEILING, CUT, PAUSE, START, AdaptiveLimit, Admission


def answers(limit: AdaptiveLimit, count: int, *, at: float = 0.0, apart: float = 0.01) -> None:
    """So many answers to requests that each took the last free place."""
    for number in range(count):
        limit.succeeded(limit.admit(limit.value - 1), at + number * apart)


def test_each_answer_widens_it_up_to_the_ceiling() -> None:
    limit = AdaptiveLimit(ceiling=40)

    answers(limit, 5)
    after_five = limit.value
    answers(limit, 50)

    assert (after_five, limit.value) == (START + 5, 40)


def test_it_does_not_grow_while_it_is_not_used() -> None:
    limit = AdaptiveLimit()

    for number in range(100):
        limit.succeeded(limit.admit(3), float(number))

    assert limit.value == START


def test_a_burst_of_refusals_cuts_it_once() -> None:
    limit = AdaptiveLimit()
    burst = [limit.admit(place) for place in range(START)]

    changes = [limit.refused(admission, 1.0) for admission in burst]

    assert limit.value == int(START * CUT)
    assert [change for change in changes if change] == changes[:1]


def test_an_answer_to_a_request_of_before_the_cut_does_not_undo_it() -> None:
    limit = AdaptiveLimit()
    before = [limit.admit(START - 1) for _ in range(5)]
    limit.refused(before[0], 1.0)

    for admission in before[1:]:
        limit.succeeded(admission, 1.1)

    assert limit.value == int(START * CUT)


def test_after_a_refusal_it_grows_by_one_for_as_many_answers_as_it_is_wide() -> None:
    limit = AdaptiveLimit(10)
    limit.refused(limit.admit(9), 0.0)
    cut = limit.value

    answers(limit, cut - 1)
    almost = limit.value
    answers(limit, 1)

    assert (almost, limit.value) == (cut, cut + 1)


def test_a_fault_of_the_provider_pauses_growth() -> None:
    limit = AdaptiveLimit()
    limit.disturbed(0.0)

    answers(limit, 10, at=PAUSE - 1)
    paused = limit.value
    answers(limit, 10, at=PAUSE)

    assert (paused, limit.value) == (START, START + 10)


def queueing_server(slots: int, requests: int, limit: AdaptiveLimit) -> list[int]:
    """A server that answers after a second and lets what is too much wait; the limits that held in turn."""
    free, out, now, held = [0.0] * slots, [], 0.0, []
    for _ in range(requests):
        while len(out) >= limit.value:
            now, admission = heapq.heappop(out)
            limit.succeeded(Admission(*admission), now)
        begin = max(now, heapq.heappop(free))
        # Nothing ends at the same moment as something else.
        end = begin + 1.0 + len(held) * 1e-6
        heapq.heappush(free, end)
        admission = limit.admit(len(out), waiting=True)
        heapq.heappush(out, (end, (admission.burst, admission.full)))
        held.append(limit.value)
    return held


def test_it_settles_where_more_at_once_bring_no_more_answers() -> None:
    limit = AdaptiveLimit()

    queueing_server(48, 4000, limit)

    assert limit.settled
    assert 48 <= limit.value < CEILING


def test_a_server_that_takes_more_is_given_more() -> None:
    limit = AdaptiveLimit()

    queueing_server(1000, 4000, limit)

    assert limit.value == CEILING


@given(st.lists(st.sampled_from(["answer", "unused", "refusal", "late refusal", "fault"]), max_size=300), st.data())
def test_it_is_always_between_one_and_the_ceiling(happenings: list[str], data: st.DataObject) -> None:
    ceiling = data.draw(st.integers(1, 300))
    limit = AdaptiveLimit(data.draw(st.integers(1, 300)), ceiling)
    old = limit.admit(0)

    for now, happened in enumerate(happenings):
        before = limit.value
        match happened:
            case "answer":
                limit.succeeded(limit.admit(limit.value - 1), now / 10)
                assert limit.value <= before + 1
            case "unused":
                limit.succeeded(limit.admit(0), now / 10)
                assert limit.value <= before + 1
            case "refusal":
                limit.refused(limit.admit(0), now / 10)
                assert limit.value <= before
            case "late refusal":
                limit.refused(old, now / 10)
            case _:
                limit.disturbed(now / 10)
        assert 1 <= limit.value <= ceiling


def test_requests_that_wait_at_the_server_are_too_many() -> None:
    limit = AdaptiveLimit()

    change = limit.queued(32, running=16, waiting=48)

    assert change is not None
    assert (limit.value, limit.settled) == (10, True), "a quarter of ours run, and some more keep the server busy"
    assert limit.queued(10, running=16, waiting=0) is None


def test_a_share_is_where_it_goes_on_learning_from() -> None:
    limit = AdaptiveLimit()

    limit.take_share(100, settled=False)
    fast = limit.settled
    limit.take_share(9, settled=True)

    assert (fast, limit.settled, limit.value) == (False, True, 9)

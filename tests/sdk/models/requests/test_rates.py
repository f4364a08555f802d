"""The pace of requests: no minute sees more than the limit, and what nobody told is learnt from refusals."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.models.requests.bucket import MINUTE
from distilmq.models.requests.rates import NOTHING, QUIET, Cost, Limits, Pace, duration


def send_for(pace: Pace, seconds: float, cost: Cost = NOTHING, *, at: float = 0.0) -> list[float]:
    """When requests go out if there is always one that waits."""
    sent: list[float] = []
    now = at
    while now < at + seconds:
        if (wait := pace.wait(now)) > 0:
            now += max(wait, 1e-6)
            continue
        pace.sent(cost, now)
        sent.append(now)
    return sent


def busiest_minute(times: list[float]) -> int:
    return max(sum(1 for other in times if time <= other < time + MINUTE) for time in times)


@settings(max_examples=25)
@given(st.integers(2, 600))
def test_no_minute_sees_more_requests_than_told_and_a_busy_one_nearly_as_many(limit: int) -> None:
    sent = send_for(Pace(Limits(requests=limit), 0.0), 180.0)

    assert busiest_minute(sent) <= limit
    assert len([time for time in sent if time >= 60]) >= 2 * limit * 0.9 - 2


def test_tokens_are_paced_by_what_requests_take() -> None:
    sent = send_for(Pace(Limits(input_tokens=60_000), 0.0), 120.0, Cost(input_tokens=1000.0))

    assert 55 <= busiest_minute(sent) <= 61


def test_what_an_answer_took_corrects_what_was_thought() -> None:
    pace = Pace(Limits(output_tokens=600), 0.0)
    thought = Cost(output_tokens=300.0)

    pace.sent(thought, 0.0)
    before = pace.wait(0.0)
    pace.answered(thought, thought, Cost(output_tokens=5.0), 0.0)

    assert before > 20
    assert pace.wait(0.0) == 0.0


def test_what_requests_took_tells_what_the_next_ones_take() -> None:
    pace, thought = Pace(Limits(input_tokens=60_000), 0.0), Cost(input_tokens=100.0, output_tokens=256.0)

    before = pace.expect(thought)
    for took in (20.0, 50.0, 30.0):
        pace.answered(thought, thought, Cost(input_tokens=took), 0.0)

    assert before == thought
    assert pace.expect(thought) == Cost(input_tokens=50.0, output_tokens=256.0), "of the last ones the most"


def test_a_request_of_many_tokens_is_taken_off_the_minute() -> None:
    pace, cost = Pace(Limits(input_tokens=6_000), 0.0), Cost(input_tokens=600.0)

    sent = send_for(pace, 300.0, cost)

    assert busiest_minute(sent) <= 10
    assert len(sent) >= 4 * 9


def test_a_share_begins_empty_unless_nothing_was_sent_before() -> None:
    pace = Pace(Limits(requests=600), 0.0)
    pace.stop(0.0)
    assert pace.dry
    assert pace.wait(5.0) == float("inf")

    pace.lend(Limits(requests=300), None, 5.0)
    empty = pace.wait(5.0)
    pace.stop(6.0)
    pace.lend(Limits(requests=300), None, 6.0, full=True)

    assert empty > 0
    assert pace.wait(6.0) == 0.0


def test_a_share_of_a_learnt_rate_is_learnt_on() -> None:
    pace = Pace(Limits(), 0.0)
    pace.lend(Limits(), 300.0, 0.0)
    began = pace.learnt

    send_for(pace, 3 * QUIET, at=0.0)

    assert began == 300.0
    assert pace.learnt is not None
    assert pace.learnt > 300.0


def test_nobody_goes_before_the_provider_says() -> None:
    pace = Pace(Limits(), 0.0)

    pace.sent(NOTHING, 0.0)
    pace.refused(NOTHING, 7.5, 0.0, 1.0)

    assert pace.wait(2.0) == 6.5
    assert pace.wait(8.5) == 0.0


def refusing(per_second: float, seconds: float) -> tuple[Pace, list[bool]]:
    """A provider whose bucket holds a second's worth; whether each request was taken."""
    pace, level, filled, taken, now = Pace(Limits(), 0.0), per_second, 0.0, [], 0.0
    while now < seconds:
        if (wait := pace.wait(now)) > 0:
            now += max(wait, 1e-3)
            continue
        level = min(per_second, level + (now - filled) * per_second)
        filled = now
        pace.sent(NOTHING, now)
        taken.append(level >= 1)
        if level >= 1:
            level -= 1
            pace.answered(NOTHING, NOTHING, NOTHING, now)
        else:
            pace.refused(NOTHING, (1 - level) / per_second, now, now)
        now += 0.01
    return pace, taken


@pytest.mark.parametrize("per_second", [2.0, 5.0, 10.0, 40.0])
def test_a_rate_is_learnt_from_refusals(per_second: float) -> None:
    pace, taken = refusing(per_second, 120.0)

    assert pace.requests_per_minute == pytest.approx(per_second * 60, rel=0.15)
    assert sum(taken) >= per_second * 120 * 0.9
    assert taken[len(taken) // 2 :].count(False) < 0.1 * len(taken)


def asked_through_an_outage(pace: Pace, begins: float, ends: float) -> list[float]:
    """When requests go out to a provider that refuses all of them for a while, up to the first that is answered."""
    sent: list[float] = []
    now = begins
    while True:
        now += max(pace.wait(now), 0.01)
        pace.sent(NOTHING, now)
        sent.append(now)
        if now >= ends:
            pace.answered(NOTHING, NOTHING, NOTHING, now)
            return sent
        pace.refused(NOTHING, None, now, now)


def test_a_provider_that_refused_everything_for_a_while_is_asked_as_before() -> None:
    pace = Pace(Limits(), 0.0)

    sent = asked_through_an_outage(pace, 0.0, 300.0)

    assert sent[-1] < 370.0, "tried again within a minute of its recovery"
    assert max(after - before for before, after in pairwise(sent)) <= 61.0
    assert len([time for time in sent if time > 2.0]) < 15, "no row spends its tries on an outage"
    assert pace.requests_per_minute is None
    assert pace.learnt is None
    assert pace.wait(sent[-1] + 0.01) == 0.0


def recovered(pace: Pace) -> float:
    """Ten requests a second that are answered after an outage of five minutes, and when they end."""
    begins = asked_through_an_outage(pace, 0.0, 300.0)[-1]
    for now in (begins + number / 10 for number in range(1, 101)):
        pace.sent(NOTHING, now)
        pace.answered(NOTHING, NOTHING, NOTHING, now)
    return begins + 10.0


def test_the_time_of_a_long_outage_is_not_taken_for_a_low_rate() -> None:
    pace = Pace(Limits(), 0.0)
    now = recovered(pace)

    pace.refused(NOTHING, None, now, now)

    assert pace.requests_per_minute == pytest.approx(600, rel=0.05)


def test_pauses_begin_short_again_at_the_next_outage() -> None:
    pace = Pace(Limits(), 0.0)
    now = recovered(pace)
    pace.refused(NOTHING, None, now, now)

    sent = asked_through_an_outage(pace, now + 2.0, now + 4.0)

    assert sent[-1] < now + 9.0


def test_a_learnt_rate_outlives_an_outage() -> None:
    pace, _ = refusing(5.0, 30.0)
    pace.refused(NOTHING, None, 31.0, 31.0)
    learnt = pace.requests_per_minute
    assert learnt is not None

    asked_through_an_outage(pace, 31.5, 60.0)

    assert pace.requests_per_minute is not None
    assert learnt <= pace.requests_per_minute < 1.2 * learnt


def test_a_learnt_rate_grows_while_nothing_is_refused() -> None:
    pace, _ = refusing(5.0, 30.0)
    learnt = pace.requests_per_minute
    assert learnt is not None

    send_for(pace, 3 * QUIET, at=60.0)

    assert pace.requests_per_minute is not None
    assert pace.requests_per_minute > learnt


def test_a_learnt_rate_grows_faster_the_longer_nothing_is_refused_and_slowly_again_after_a_refusal() -> None:
    pace, _ = refusing(5.0, 30.0)
    rates = [pace.requests_per_minute or 0.0]
    for step in range(6):
        send_for(pace, QUIET, at=60.0 + step * QUIET)
        rates.append(pace.requests_per_minute or 0.0)
    steps = [round(after / before - 1, 2) for before, after in pairwise(rates)]

    assert steps == sorted(steps)
    assert steps[-1] >= 0.4

    for sent_at in (100.0, 101.5):
        pace.refused(NOTHING, None, sent_at, sent_at + 0.1)
        pace.answered(NOTHING, NOTHING, NOTHING, sent_at + 0.2)
    learnt = pace.requests_per_minute
    send_for(pace, QUIET, at=110.0)
    assert learnt is not None
    assert pace.requests_per_minute == pytest.approx(learnt * 1.05)


def test_a_learnt_rate_does_not_grow_while_it_is_not_used() -> None:
    pace, _ = refusing(5.0, 30.0)
    learnt = pace.requests_per_minute

    for step in range(1, 4):
        pace.wait(60.0 + step * QUIET)

    assert pace.requests_per_minute == learnt


def test_a_told_rate_is_not_learnt_away() -> None:
    pace = Pace(Limits(requests=300), 0.0)

    for now in range(10):
        pace.sent(NOTHING, float(now))
        pace.refused(NOTHING, None, float(now), float(now))

    assert pace.requests_per_minute == 300


def test_a_loan_without_rates_leaves_a_learnt_rate_as_it_is() -> None:
    pace, _ = refusing(5.0, 30.0)
    learnt = pace.requests_per_minute
    assert learnt is not None

    pace.lend(Limits(), None, 30.0)

    assert pace.requests_per_minute == learnt


def test_a_told_rate_that_is_told_no_more_holds_no_more() -> None:
    pace = Pace(Limits(), 0.0)
    pace.lend(Limits(requests=60), None, 0.0)

    pace.lend(Limits(), None, 1.0)

    assert pace.requests_per_minute is None


def test_headers_tell_the_limit_and_when_it_is_used_up() -> None:
    pace = Pace(Limits(), 0.0)
    headers = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1.5s",
    }

    news = pace.heard(headers, 10.0)
    again = pace.heard(headers, 10.0)

    assert news == Limits(requests=600)
    assert again is None
    assert pace.requests_per_minute == 600
    assert pace.wait(10.0) == 1.5


def test_headers_that_say_nothing_change_nothing() -> None:
    pace = Pace(Limits(), 0.0)

    for headers in (
        {},
        {"x-ratelimit-limit-requests": "many"},
        {"x-ratelimit-limit-requests": "0"},
        {"x-ratelimit-limit-requests": "nan"},
        {"x-ratelimit-limit-requests": "inf"},
    ):
        assert pace.heard(headers, 0.0) is None

    assert pace.requests_per_minute is None
    assert pace.wait(0.0) == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12.0),
        ("1.5s", 1.5),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h2m3s", 3723.0),
        ("", None),
        ("soon", None),
        ("nan", None),
    ],
)
def test_durations_are_read_as_headers_write_them(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds

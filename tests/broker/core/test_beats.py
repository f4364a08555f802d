"""Many beat more rarely than few, and nobody so rarely that it would count as lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distilmq_broker.core.beats import MISSED, MOST, OFTEN, beat_interval


def test_a_few_beat_often() -> None:
    assert beat_interval(3, 15.0) == OFTEN


def test_a_run_beats_as_its_plan_says() -> None:
    assert beat_interval(3, 3.0, 0.2) == 0.2


@given(st.integers(0, 100_000), st.floats(1.0, 1000.0))
def test_there_are_no_more_beats_than_asked_for_and_none_counts_as_lost_in_between(peers: int, liveness: float) -> None:
    interval = beat_interval(peers, liveness)

    assert interval * MISSED <= liveness * 1.000001
    assert peers / interval <= MOST * 1.000001 or interval == liveness / MISSED

"""A step that fails more of its rows than its user wants pauses the run, which says why and goes on when told."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from distilmq.protocol.messages import ErrorInfo, RowFailure
from distilmq_broker.core import policy
from distilmq_broker.core.commands import SayPaused
from distilmq_broker.core.events import ResumeRequested, StopRequested
from distilmq_broker.core.failure_rate import FailureRate
from tests.broker.core.scene import Scene, batches, generator, plan_of, step


def failures(rows: Iterable[int], kind: str = "ValueError") -> tuple[RowFailure, ...]:
    return tuple(RowFailure(row=row, error=ErrorInfo(type=kind, message="no\nmore")) for row in rows)


def test_more_failed_rows_than_allowed_are_too_many() -> None:
    rate = FailureRate(0.5)

    assert rate.add(20, failures(range(10))) is None
    assert rate.add(1, failures([0])) == (
        "11 of its last 21 rows failed, and max_failure_rate is 0.5; the last with ValueError: no"
    )


def test_the_first_few_failed_rows_say_little_unless_none_is_allowed() -> None:
    assert FailureRate(0.5).add(4, failures(range(4))) is None
    assert FailureRate(0.0).add(4, failures([2])) is not None


def test_rows_that_met_a_rate_limit_are_not_counted() -> None:
    rate = FailureRate(0.1)

    assert rate.add(50, failures(range(50), "RateLimitedError")) is None
    assert rate.add(2, failures(range(2))) is None


def test_a_bad_stretch_within_a_large_batch_is_noticed() -> None:
    assert FailureRate(0.2).add(1000, failures(range(100))) is not None


def test_only_the_last_rows_count() -> None:
    rate = FailureRate(0.1)
    rate.add(10, failures([0, 1]))
    rate.add(policy.FAILURE_WINDOW, ())

    assert rate.add(9, failures(range(9))) is None


@given(st.lists(st.booleans(), max_size=300), st.floats(0, 1))
def test_it_is_the_share_of_the_last_rows(failed: list[bool], allowed: float) -> None:
    rate = FailureRate(allowed)

    for each in failed:
        rate.add(1, failures([0] if each else []))

    last = failed[-policy.FAILURE_WINDOW :]
    assert rate.exceeded == (sum(last) > allowed * max(len(last), policy.FEWEST_ROWS))


def failing(rate: float | None) -> Scene:
    """A run whose step has given ten rows, all of them failed, twice."""
    plan = plan_of(generator(max_batches=4), step("ask", "load", max_failure_rate=rate))
    scene = Scene(plan)
    load = batches(scene.staff())
    for order in load[:2]:
        for ask in batches(scene.done(order), "ask"):
            scene.done(ask, failures=failures(range(10)))
    return scene


def test_a_run_pauses_with_the_reason_and_hands_out_nothing() -> None:
    plan = plan_of(generator(max_batches=4), step("ask", "load", max_failure_rate=0.5))
    scene = Scene(plan)
    first, second = batches(scene.staff())
    (ask,) = batches(scene.done(first), "ask")
    (other,) = batches(scene.done(second), "ask")
    scene.done(ask, failures=failures(range(10)))

    followed = scene.done(other, failures=failures(range(10)))
    progress = scene.core.progress(scene.now)

    assert [each.step for each in followed if isinstance(each, SayPaused)] == ["ask"]
    assert (progress.state, progress.resumable) == ("paused", True)
    assert progress.reason.startswith("step 'ask': 11 of its last 11 rows failed, and max_failure_rate is 0.5")
    assert batches(followed) == []


def test_it_goes_on_when_told_and_counts_anew() -> None:
    scene = failing(0.5)

    scene.tell(ResumeRequested())

    assert scene.core.progress(scene.now).state == "running"


def test_a_paused_run_can_be_stopped() -> None:
    scene = failing(0.5)

    scene.tell(StopRequested(10.0))

    assert scene.core.progress(scene.now).state in ("draining", "stopped")


def test_without_a_rate_a_run_never_pauses() -> None:
    assert failing(None).core.progress(0.0).state == "running"

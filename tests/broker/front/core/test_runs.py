"""The life of submitted runs, with values: what is started, ordered, kept and given up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilmq_broker.front.core.records import RunRecord
from distilmq_broker.front.core.run_commands import (
    Command,
    DeliverMail,
    Deny,
    EndCoordinator,
    FreeSlots,
    OrderRun,
    RemoveRun,
    SaveRun,
    StartCoordinator,
)
from distilmq_broker.front.core.run_events import (
    CoordinatorEnded,
    CoordinatorUp,
    DeadlineReached,
    Event,
    RunAddressed,
    RunControlled,
    RunSubmitted,
    RunTold,
)
from distilmq_broker.front.core.runs import DEATHS, PAUSE, SOON, Runs

RUN = "run-1"
RECORD = RunRecord(run=RUN, submitted=1.0)
TOLD = RunTold(RUN, "running", "", idle=False, wall=7.0)
DONE = replace(TOLD, state="done")


class Managed:
    """Runs, with what they said last."""

    def __init__(self, *records: RunRecord) -> None:
        self.runs = Runs(records)
        self.now = 0.0

    def start(self) -> list[Command]:
        return self.runs.start(self.now)

    def on(self, event: Event) -> list[Command]:
        return self.runs.handle(event, self.now)


@pytest.fixture
def running() -> Managed:
    """One run, with a coordinator that is up."""
    managed = Managed()
    managed.on(RunSubmitted(RECORD))
    managed.on(CoordinatorUp(RUN))
    managed.on(TOLD)
    return managed


@pytest.fixture
def over(running: Managed) -> Managed:
    """One run that is done, and whose coordinator has left."""
    running.on(DONE)
    running.on(replace(DONE, idle=True))
    running.on(CoordinatorEnded(RUN, "exit code 0"))
    return running


def test_what_is_submitted_is_kept_before_it_is_started() -> None:
    assert Managed().on(RunSubmitted(RECORD)) == [SaveRun(RECORD), StartCoordinator(RUN, read_only=False)]


def test_what_was_not_over_goes_on_and_what_was_is_left_alone() -> None:
    paused = RunRecord(run="paused", state="paused", wish="pause")
    managed = Managed(RECORD, paused, RunRecord(run="done", state="done"))

    started = managed.start()

    assert started == [StartCoordinator(RUN, read_only=False), StartCoordinator("paused", read_only=False)]
    assert managed.on(CoordinatorUp(RUN)) == [DeliverMail(RUN)]
    assert managed.on(CoordinatorUp("paused")) == [OrderRun("paused", "pause"), DeliverMail("paused")]


def test_the_end_of_a_run_is_kept_once_and_frees_its_slots(running: Managed) -> None:
    done = RECORD.model_copy(update={"state": "done", "ended": 7.0})

    assert running.on(DONE) == [FreeSlots(RUN), SaveRun(done)]
    assert running.on(replace(DONE, wall=9.0)) == []


def test_one_that_nobody_asks_is_told_to_leave_and_may_find_that_it_is_needed(running: Managed) -> None:
    running.on(DONE)
    ordered = running.on(replace(DONE, idle=True))
    leaving = running.runs.up(RUN)
    asked = running.on(RunAddressed(RUN))
    stays = running.on(DONE)

    assert ordered == [OrderRun(RUN, "leave")]
    assert not leaving
    assert running.runs.up(RUN)
    # Else what was asked meanwhile would never be answered.
    assert (asked, stays) == ([], [DeliverMail(RUN)])


def test_who_asks_about_a_run_that_is_over_gets_a_coordinator_that_starts_nothing(over: Managed) -> None:
    assert over.on(RunAddressed(RUN)) == [StartCoordinator(RUN, read_only=True)]
    assert over.on(RunAddressed(RUN)) == []
    over.on(CoordinatorUp(RUN))
    assert over.on(replace(DONE, idle=True)) == [OrderRun(RUN, "leave")]


def test_who_asks_while_it_leaves_gets_the_next_one(running: Managed) -> None:
    running.on(DONE)
    running.on(replace(DONE, idle=True))
    asked = running.on(RunAddressed(RUN))
    deadline = running.runs.next_deadline()
    ended = running.on(CoordinatorEnded(RUN, "exit code 0"))

    assert (asked, deadline) == ([], None)
    assert ended == [StartCoordinator(RUN, read_only=True)]


def test_one_that_dies_is_started_again_later_and_later_and_then_given_up(running: Managed) -> None:
    pauses: list[float] = []
    for _ in range(DEATHS):
        assert running.on(CoordinatorEnded(RUN, "signal 9")) == []
        deadline = running.runs.next_deadline()
        assert deadline is not None
        pauses.append(deadline - running.now)
        running.now = deadline
        assert running.on(DeadlineReached()) == [StartCoordinator(RUN, read_only=False)]

    last = running.on(CoordinatorEnded(RUN, "signal 9: out of memory"))

    assert pauses == [PAUSE * 2**death for death in range(DEATHS)]
    reason = "its coordinator ends again and again: signal 9: out of memory"
    assert last == [FreeSlots(RUN), SaveRun(RECORD.model_copy(update={"state": "failed", "reason": reason}))]


def test_one_that_lived_for_long_has_not_died_of_its_start(running: Managed) -> None:
    for _ in range(3 * DEATHS):
        running.now += SOON + 1
        running.on(CoordinatorEnded(RUN, "signal 9"))
        assert running.runs.next_deadline() == running.now + PAUSE
        running.now += PAUSE
        running.on(DeadlineReached())


def test_one_that_cannot_begin_fails_its_run_at_once(running: Managed) -> None:
    ended = running.on(CoordinatorEnded(RUN, "the disk is full", refusal=True))

    assert ended == [
        FreeSlots(RUN),
        SaveRun(RECORD.model_copy(update={"state": "failed", "reason": "the disk is full"})),
    ]


def test_what_is_wanted_is_kept_and_ordered(running: Managed) -> None:
    stopping = RECORD.model_copy(update={"wish": "stop"})

    assert running.on(RunControlled(RUN, "stop", 3.0)) == [SaveRun(stopping), OrderRun(RUN, "stop", 3.0)]


def test_what_is_wanted_while_none_is_up_is_ordered_when_one_is() -> None:
    managed = Managed(RECORD)
    managed.start()

    assert managed.on(RunControlled(RUN, "stop")) == [SaveRun(RECORD.model_copy(update={"wish": "stop"}))]
    assert managed.on(CoordinatorUp(RUN)) == [OrderRun(RUN, "stop"), DeliverMail(RUN)]


def test_a_run_that_was_stopped_goes_on_with_a_new_coordinator(running: Managed) -> None:
    running.on(RunControlled(RUN, "stop"))
    running.on(replace(TOLD, state="stopped"))
    resumed = running.on(RunControlled(RUN, "resume"))
    late = running.on(replace(TOLD, state="stopped"))
    ended = running.on(CoordinatorEnded(RUN, "exit code 0"))

    assert resumed == [SaveRun(RECORD), EndCoordinator(RUN)]
    assert late == []
    assert ended == [StartCoordinator(RUN, read_only=False)]


def test_a_run_is_removed_when_its_coordinator_is_gone(over: Managed) -> None:
    over.on(RunAddressed(RUN))
    removed = over.on(RunControlled(RUN, "remove"))

    assert removed == [EndCoordinator(RUN)]
    assert over.runs.records() == []
    assert over.on(CoordinatorEnded(RUN, "exit code 0")) == [RemoveRun(RUN)]
    assert over.on(RunControlled(RUN, "remove"))[0] == Deny(
        "there is no run 'run-1'", "`distilmq runs list` shows those that there are"
    )


def test_what_is_at_work_is_not_removed(running: Managed) -> None:
    (denied,) = running.on(RunControlled(RUN, "remove"))

    assert isinstance(denied, Deny)
    assert "not over" in denied.reason


EVENTS = st.one_of(
    st.just(CoordinatorUp(RUN)),
    st.builds(CoordinatorEnded, st.just(RUN), st.just("signal 9"), st.booleans()),
    st.builds(
        RunTold,
        st.just(RUN),
        st.sampled_from(["running", "paused", "stopped", "done", "failed"]),
        st.just(""),
        st.booleans(),
        st.just(1.0),
    ),
    st.just(RunAddressed(RUN)),
    st.builds(RunControlled, st.just(RUN), st.sampled_from(["stop", "kill", "pause", "resume", "remove"])),
    st.just(DeadlineReached()),
)


@given(st.lists(EVENTS, max_size=30))
def test_there_is_never_more_than_one_coordinator_of_a_run_and_one_that_is_not_over_gets_one(
    events: list[Event],
) -> None:
    managed = Managed(RECORD)
    alive = 0
    for event in [None, *events]:
        if isinstance(event, (CoordinatorEnded, CoordinatorUp, RunTold)) and not alive:
            continue
        alive -= isinstance(event, CoordinatorEnded)
        commands = managed.start() if event is None else managed.on(event)
        alive += sum(isinstance(command, StartCoordinator) for command in commands)
        managed.now += 40.0

        assert 0 <= alive <= 1
        record = managed.runs.record(RUN)
        if record is not None and not record.over and not alive:
            assert managed.runs.next_deadline() is not None

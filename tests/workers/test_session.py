"""The session alone: whatever is lost, doubled or late, every batch that was received is answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.protocol import messages as m
from distilmq.protocol.usage import Usage
from distilmq_workers import events
from distilmq_workers.commands import (
    Command,
    Leave,
    LoadStep,
    ReportStall,
    RunBatch,
    Say,
    StopAsking,
    TakeJobKept,
    TakeRecorded,
)
from distilmq_workers.offer import OFFER_AGAIN
from distilmq_workers.session import ACK_PATIENCE, HELLO_AGAIN, Phase, Session

WELCOME = m.Welcome(run="r", epoch=1, heartbeat=1.0, liveness=15.0, max_message=10**6)
ERROR = m.ErrorInfo(type="ValueError", message="no")
MISSING = m.ErrorInfo(type="ModuleNotFoundError", message="No module named 'x'")
UNABLE = m.LoadFailed(session="me", step="s", error=MISSING)


def lease(number: int, attempt: int = 1) -> m.Lease:
    return m.Lease(step="s", seq_no=(number,) if number else (), attempt=attempt)


def batch(number: int, attempt: int = 1, *, jobs: bool = False) -> events.Received:
    return events.Received(m.Batch(lease=lease(number, attempt), jobs=jobs), [b""])


def result(of: m.Lease) -> events.BatchEnded:
    return events.BatchEnded(m.Result(session="me", lease=of, rows=0), [b"\x90"])


def lacking(of: m.Lease) -> events.BatchEnded:
    return events.BatchEnded(m.Returned(session="me", lease=of), lacks=MISSING)


def new_session() -> Session:
    return Session(m.Hello(role="worker", worker="w", session="me"), 0.0)


def ready_session(lanes: int = 1, *, batch_timeout: float | None = None) -> Session:
    session = new_session()
    session.start(0.0)
    session.handle(events.Received(WELCOME), 0.0)
    assign = m.Assign(step="s", replica=0, stall_after=5.0, batch_timeout=batch_timeout)
    session.handle(events.Received(assign, [b"step"]), 0.0)
    session.handle(events.Loaded("s", lanes), 0.0)
    return session


def said(commands: Iterable[Command]) -> list[m.Message]:
    return [command.message for command in commands if isinstance(command, Say)]


def test_it_says_hello_until_it_is_welcome() -> None:
    session = new_session()

    first = session.start(0.0)
    early = session.handle(events.TimePassed(), HELLO_AGAIN - 0.1)
    again = session.handle(events.TimePassed(), HELLO_AGAIN)
    session.handle(events.Received(WELCOME), HELLO_AGAIN)

    assert said(first) == said(again) == [session.hello]
    assert early == []
    assert session.next_deadline() == HELLO_AGAIN + WELCOME.heartbeat


def test_an_assignment_that_comes_twice_is_loaded_once() -> None:
    session = new_session()
    assign = events.Received(m.Assign(step="s", replica=0), [b"step"])

    assert session.handle(assign, 0.0) == [LoadStep(assign.message, b"step")]  # type: ignore[arg-type]
    assert session.handle(assign, 0.0) == []
    assert said(session.handle(events.Loaded("s"), 0.0)) == [m.Ready(session="me", step="s")]
    assert said(session.handle(assign, 0.0)) == [m.Ready(session="me", step="s")]


def test_a_batch_of_another_step_goes_back() -> None:
    session = ready_session()
    stray = m.Lease(step="other", seq_no=(1,))

    commands = session.handle(events.Received(m.Batch(lease=stray), []), 0.0)

    assert said(commands) == [m.Returned(session="me", lease=stray)]


def test_batches_are_begun_in_order_and_one_at_a_time() -> None:
    session = ready_session()

    first = session.handle(batch(1), 0.0)
    second = session.handle(batch(2), 0.0)
    then = session.handle(result(lease(1)), 0.0)

    assert [command.batch.lease for command in first if isinstance(command, RunBatch)] == [lease(1)]
    assert second == []
    assert [command.batch.lease for command in then if isinstance(command, RunBatch)] == [lease(2)]
    assert session.held == (lease(1), lease(2))


def test_several_lanes_take_several_batches() -> None:
    session = ready_session(lanes=2)

    for number in range(3):
        session.handle(batch(number), 0.0)

    assert [running.lease for running in session.running.values()] == [lease(0), lease(1)]


def test_a_batch_handed_out_again_while_it_runs_gets_the_new_lease() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)

    assert session.handle(batch(1, attempt=2), 0.0) == []
    commands = session.handle(result(lease(1)), 0.0)

    assert [message.lease for message in said(commands) if isinstance(message, m.Result)] == [lease(1, attempt=2)]


def test_a_batch_handed_out_again_when_it_is_done_is_not_done_again() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(result(lease(1)), 0.0)

    commands = session.handle(batch(1, attempt=2), 0.0)

    assert [message.lease for message in said(commands) if isinstance(message, m.Result)] == [lease(1, attempt=2)]
    assert not any(isinstance(command, RunBatch) for command in commands)


def test_what_is_not_acknowledged_is_offered_to_whoever_welcomes_it() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(result(lease(1)), 0.0)

    offered = session.handle(events.Received(WELCOME.model_copy(update={"epoch": 2})), 0.1)
    session.handle(events.Received(m.Ack(lease=lease(1))), 0.2)
    after = session.handle(events.Received(WELCOME.model_copy(update={"epoch": 3})), 0.3)

    assert [message.lease for message in said(offered) if isinstance(message, m.Result)] == [lease(1)]
    assert said(after) == []


def test_a_batch_may_bring_what_is_acknowledged() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(result(lease(1)), 0.0)

    session.handle(events.Received(m.Batch(lease=lease(2), acked=(lease(1),))), 0.1)

    assert session.held == (lease(2),)


def test_what_is_not_acknowledged_is_offered_again_more_and_more_rarely() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(result(lease(1)), 0.0)
    offers: list[float] = []

    now = 0.0
    while len(offers) < 4:
        now = session.next_deadline()
        commands = session.handle(events.TimePassed(), now)
        offers += [now for message in said(commands) if isinstance(message, m.Result)]
    session.handle(events.Received(m.Ack(lease=lease(1))), now)

    assert offers == [OFFER_AGAIN, OFFER_AGAIN * 3, OFFER_AGAIN * 7, OFFER_AGAIN * 15]
    assert session.held == ()


def test_draining_begins_nothing_new() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(batch(2), 0.0)

    commands = session.handle(events.Received(m.Drain(timeout=10.0)), 0.0)
    late = session.handle(batch(3), 0.0)
    then = session.handle(result(lease(1)), 0.0)

    assert commands == [StopAsking(), Say(m.Returned(session="me", lease=lease(2)))]
    assert said(late) == [m.Returned(session="me", lease=lease(3))]
    assert not any(isinstance(command, RunBatch) for command in then)


def test_a_batch_given_up_at_the_end_of_a_drain_may_still_be_answered() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(events.Received(m.Drain(timeout=10.0)), 0.0)

    commands = session.handle(events.TimePassed(), 10.0)
    late = session.handle(result(lease(1)), 11.0)

    assert m.Returned(session="me", lease=lease(1)) in said(commands)
    assert [type(message) for message in said(late)] == [m.Result]


def test_leaving_waits_for_acks_but_not_for_ever() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(result(lease(1)), 0.0)

    waiting = session.handle(events.Received(m.Stop()), 1.0)
    left = session.handle(events.TimePassed(), 1.0 + ACK_PATIENCE)

    assert waiting == [StopAsking()]
    assert left[-1] == Leave(unload=True)
    assert session.handle(batch(2), 5.0) == []


def test_terminated_it_keeps_new_batches_to_itself_until_it_leaves() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(events.TerminateAsked(), 0.0)

    assert session.handle(batch(2), 0.0) == []
    session.handle(result(lease(1)), 0.0)
    commands = session.handle(events.Received(m.Ack(lease=lease(1))), 0.0)

    assert said(commands) == [m.Returned(session="me", lease=lease(2)), m.Bye(session="me")]
    assert commands[-1] == Leave(unload=True)


def test_a_stall_is_reported_twice_as_late_each_time() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    reports: list[float] = []

    now = 0.0
    while now < 50.0:
        now = session.next_deadline()
        reports += [now for command in session.handle(events.TimePassed(), now) if isinstance(command, ReportStall)]

    assert reports == [5.0, 10.0, 20.0, 40.0]


@pytest.mark.parametrize(("timeout", "expected"), [(3.0, [2.7]), (30.0, [5.0, 10.0, 20.0, 27.0])])
def test_where_it_is_is_told_for_the_last_time_before_its_time_is_over(timeout: float, expected: list[float]) -> None:
    session = ready_session(batch_timeout=timeout)
    session.handle(batch(1), 0.0)
    reports: list[float] = []

    while (now := session.next_deadline()) < timeout:
        reports += [now for command in session.handle(events.TimePassed(), now) if isinstance(command, ReportStall)]

    assert reports == pytest.approx(expected)


def test_a_load_that_raises_is_told_and_leaves_on_demand() -> None:
    session = new_session()
    session.handle(events.Received(m.Assign(step="s", replica=0), [b"step"]), 0.0)

    told = session.handle(events.LoadRaised("s", ERROR), 0.0)
    left = session.handle(events.Received(m.Stop()), 0.0)

    assert said(told) == [m.LoadFailed(session="me", step="s", error=ERROR)]
    assert session.phase is Phase.FAILED
    assert left[-1] == Leave(unload=True)


def test_a_batch_that_needs_a_missing_package_goes_back_with_all_that_is_not_begun_and_the_reason_comes_first() -> None:
    session = ready_session(lanes=2)
    for number in range(4):
        session.handle(batch(number), 0.0)

    first = session.handle(lacking(lease(0)), 0.0)
    second = session.handle(lacking(lease(1)), 0.0)

    returned = [m.Returned(session="me", lease=lease(number)) for number in range(4)]
    assert said(first) == [UNABLE, returned[2], returned[3], returned[0]]
    assert second == [Say(returned[1])]
    assert session.held == ()


def test_what_else_is_in_hand_when_a_package_is_missing_is_finished_and_kept() -> None:
    session = ready_session(lanes=2)
    session.handle(batch(0), 0.0)
    session.handle(batch(1), 0.0)
    session.handle(lacking(lease(0)), 0.0)

    done = session.handle(result(lease(1)), 0.0)
    stopped = session.handle(events.Received(m.Stop()), 0.0)
    left = session.handle(events.Received(m.Ack(lease=lease(1))), 0.0)

    assert [(type(message), message.lease) for message in said(done)] == [(m.Result, lease(1))]  # type: ignore[attr-defined]
    assert stopped == [StopAsking()]
    assert left[-1] == Leave(unload=True)


def test_a_process_that_lacks_a_package_begins_nothing_more_and_says_why_to_whoever_hands_it_something() -> None:
    session = ready_session(lanes=2)
    session.handle(events.DemandChanged(100, 0), 0.0)
    session.handle(batch(0), 0.0)
    session.handle(lacking(lease(0)), 0.0)

    handed = session.handle(batch(1), 0.0)
    assigned = session.handle(events.Received(m.Assign(step="s", replica=0), [b"step"]), 0.0)
    welcomed = session.handle(events.Received(WELCOME.model_copy(update={"epoch": 2})), 0.0)
    asked = session.handle(events.Received(m.Who()), 0.0)

    assert handed == [Say(UNABLE), Say(m.Returned(session="me", lease=lease(1)))]
    assert assigned == []
    assert said(welcomed) == [UNABLE]
    [hello] = said(asked)
    assert isinstance(hello, m.Hello)
    assert not hello.ready


def test_a_load_that_raised_is_told_again_to_whoever_welcomes_it() -> None:
    session = new_session()
    session.handle(events.Received(m.Assign(step="s", replica=0), [b"step"]), 0.0)
    session.handle(events.LoadRaised("s", ERROR), 0.0)

    welcomed = session.handle(events.Received(WELCOME), 0.0)

    assert said(welcomed) == [m.LoadFailed(session="me", step="s", error=ERROR)]


@pytest.mark.parametrize("phase", ["loading", "running"])
def test_a_stop_at_once_leaves_what_is_in_hand(phase: str) -> None:
    session = ready_session() if phase == "running" else new_session()
    if phase == "loading":
        session.handle(events.Received(m.Assign(step="s", replica=0), [b"step"]), 0.0)
    else:
        session.handle(batch(1), 0.0)

    assert session.handle(events.Received(m.Stop(now=True)), 0.0)[-1] == Leave(unload=False)


# ---------------------------------------------------------------- whatever happens on the way


@dataclass
class World:
    """A session, the user's code, and a coordinator that gets and gives what the way lets through."""

    session: Session = field(default_factory=lambda: ready_session(lanes=2))
    now: float = 0.0
    attempts: dict[int, int] = field(default_factory=dict)
    working: list[m.Lease] = field(default_factory=list)
    up: list[m.Message] = field(default_factory=list)
    down: list[m.Message] = field(default_factory=list)
    recorded: set[int] = field(default_factory=set)
    elsewhere: set[int] = field(default_factory=set)
    """Handed to another process, as this one lacks a package."""
    refused: bool = False
    epoch: int = 1

    def perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Say):
                self.up.append(command.message)
            elif isinstance(command, RunBatch):
                assert self.session.unable is None
                assert all(number_of(other) != number_of(command.batch.lease) for other in self.working)
                self.working.append(command.batch.lease)
        self.check()

    def check(self) -> None:
        session = self.session
        places = [set(session.queue), set(session.running), set(session.kept)]
        assert sum(map(len, places)) == len(set.union(*places)), "a batch is in one place only"
        assert len(session.running) <= session.lanes
        assert len(session.held) == len(set(session.held))
        assert session.next_deadline() >= self.now - 1e9

    def hand(self, number: int) -> None:
        self.attempts[number] = self.attempts.get(number, 0) + 1
        self.down.append(m.Batch(lease=lease(number, self.attempts[number])))

    def give(self, number: int) -> None:
        """Hands out what was given back: elsewhere, once the process has said that it lacks a package."""
        if self.refused:
            self.elsewhere.add(number)
        else:
            self.hand(number)

    def deliver_down(self) -> None:
        if self.down:
            self.perform(self.session.handle(events.Received(self.down.pop(0), [b""]), self.now))

    def deliver_up(self) -> None:
        if not self.up:
            return
        message = self.up.pop(0)
        if isinstance(message, m.Result):
            self.recorded.add(number_of(message.lease))
            self.down.append(m.Ack(lease=message.lease))
        elif isinstance(message, m.LoadFailed):
            self.refused = True
        elif isinstance(message, m.Returned):
            self.give(number_of(message.lease))
        elif isinstance(message, m.Heartbeat):
            held = {number_of(held) for held in message.held}
            for number in self.attempts:
                if number not in held and number not in self.recorded:
                    self.give(number)
        elif isinstance(message, m.Hello):
            self.down.append(WELCOME.model_copy(update={"epoch": self.epoch}))

    def finish(self, place: int) -> None:
        if self.working:
            done = self.working.pop(place % len(self.working))
            self.perform(self.session.handle(result(done), self.now))

    def lack(self, place: int) -> None:
        if self.working:
            done = self.working.pop(place % len(self.working))
            self.perform(self.session.handle(lacking(done), self.now))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.perform(self.session.handle(events.TimePassed(), self.now))

    def restart_coordinator(self) -> None:
        self.epoch += 1
        self.up.clear()
        self.down[:] = [m.Who()]


def number_of(of: m.Lease) -> int:
    return of.seq_no[0] if of.seq_no else 0


USUAL = ["hand", "down", "up", "lose_down", "lose_up", "twice_down", "finish", "time", "restart", "swap"]


def happenings_of(kinds: list[str], *, least: int = 0) -> st.SearchStrategy[list[tuple[str, int]]]:
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 5)), min_size=least, max_size=60)


@settings(max_examples=300)
@given(happenings_of(USUAL))
def test_every_batch_is_recorded_in_the_end(happenings: list[tuple[str, int]]) -> None:
    world = World()

    happen(world, happenings)

    assert world.recorded == set(world.attempts)
    assert world.session.held == ()


@settings(max_examples=300)
@given(happenings_of([*USUAL, *["hand", "down"] * 3, "lack"], least=15))
def test_every_batch_is_recorded_or_goes_elsewhere_when_a_package_is_missing(happenings: list[tuple[str, int]]) -> None:
    world = World()

    happen(world, happenings)

    assert world.recorded | world.elsewhere == set(world.attempts)
    assert world.refused == (world.session.unable is not None)
    assert world.session.held == ()


def happen(world: World, happenings: Iterable[tuple[str, int]]) -> None:
    """Lets things happen; then nothing is lost any more, and time passes."""
    for what, choice in happenings:
        match what:
            case "hand":
                world.hand(choice)
            case "down":
                world.deliver_down()
            case "up":
                world.deliver_up()
            case "lose_down":
                del world.down[:1]
            case "lose_up":
                del world.up[:1]
            case "twice_down":
                world.down[:1] *= 2
            case "finish":
                world.finish(choice)
            case "lack":
                world.lack(choice)
            case "time":
                world.pass_time(choice * 0.7)
            case "restart":
                world.restart_coordinator()
            case "swap":
                world.down.reverse()
            case _:
                raise AssertionError(what)

    for _ in range(200):
        world.pass_time(1.0)
        while world.down or world.up or world.working:
            world.deliver_up()
            world.deliver_down()
            world.finish(0)


def wanted(commands: Iterable[Command]) -> list[int]:
    return [message.batches for message in said(commands) if isinstance(message, m.Want)]


def test_it_asks_for_more_batches_while_its_models_could_take_more() -> None:
    session = ready_session(lanes=64)
    session.handle(batch(1), 0.0)
    session.handle(batch(2), 0.0)

    enough = session.handle(events.DemandChanged(limit=64, unsent=80), 0.0)
    hungry = session.handle(events.DemandChanged(limit=64, unsent=10), 0.1)
    same = session.handle(events.DemandChanged(limit=64, unsent=9), 0.2)
    session.handle(batch(3), 0.3)
    fed = session.handle(events.DemandChanged(limit=64, unsent=70), 0.4)

    assert wanted(enough) == [2]
    assert wanted(hungry) == [4], "two of fifty rows bring a hundred requests, and 54 could go"
    assert wanted(same) == []
    assert wanted(fed) == [3]


def test_it_holds_no_more_rows_than_a_few_for_each_request_that_may_be_out() -> None:
    session = ready_session(lanes=256)
    for number in range(21):
        session.handle(batch(number), 0.0)

    first = session.handle(events.DemandChanged(limit=64, unsent=0), 0.0)
    for _ in range(16 * 64):
        session.handle(events.AnswerCame(lease(1), 0, b"key", 0, b"answer"), 0.0)
    later = session.handle(events.DemandChanged(limit=64, unsent=1), 0.0)

    assert wanted(first) == [4 * 64 // 50], "before the model has answered anything"
    assert session.appetite.said == 16 * 64 // 50
    assert wanted(later) == []


def test_a_step_that_is_at_one_batch_at_a_time_never_asks_for_more() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)

    assert wanted(session.handle(events.DemandChanged(limit=64, unsent=0), 0.0)) == []


def test_what_it_wants_is_said_again_with_each_beat_and_to_a_new_coordinator() -> None:
    session = ready_session(lanes=64)
    session.handle(batch(1), 0.0)
    session.handle(events.DemandChanged(limit=64, unsent=0), 0.0)

    beat = session.handle(events.TimePassed(), session.next_deadline())
    again = session.handle(events.Received(WELCOME.model_copy(update={"epoch": 2})), 2.0)

    assert wanted(beat) == wanted(again) == [3]
    assert m.Ready(session="me", step="s", at_once=64) in said(again)


def test_what_models_took_is_said_with_each_answer_and_again_with_every_beat() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    had = (Usage(model="m", requests=1, input_tokens=5),)
    more = (Usage(model="m", requests=2, input_tokens=9),)

    [answered] = said(session.handle(events.AnswerCame(lease(1), 0, b"k", 0, b"yes", had), 0.0))
    [beat] = said(session.handle(events.TimePassed(), 1.0))
    session.handle(events.BatchEnded(m.Returned(session="me", lease=lease(1), usage=more)), 1.0)
    *_, bye = said(session.handle(events.Received(m.Stop(now=True)), 1.0))

    assert answered == m.Answered(session="me", lease=lease(1), row=0, key=b"k", usage=had)
    assert beat == m.Heartbeat(session="me", held=(lease(1),), step="s", usage=had)
    assert bye == m.Bye(session="me", step="s", usage=more)


def test_what_a_cancelled_batch_took_is_said_all_the_same() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(events.Received(m.Cancel(lease=lease(1))), 0.0)
    had = (Usage(model="m", requests=3),)

    silent = session.handle(events.BatchEnded(m.Result(session="me", lease=lease(1), rows=0, usage=had)), 0.0)
    [beat] = said(session.handle(events.TimePassed(), 1.0))

    assert said(silent) == []
    assert beat == m.Heartbeat(session="me", step="s", usage=had)


def test_a_planned_job_is_said_with_the_lease_as_it_is_now_and_its_record_is_passed_on() -> None:
    session = ready_session()
    session.handle(batch(1), 0.0)
    session.handle(batch(1, attempt=2), 0.0)
    job = m.Job(session="me", lease=lease(1), job="j", size=1, requests=())
    kept = m.JobKept(lease=lease(1), job="j")

    planned = said(session.handle(events.JobPlanned(job), 0.0))
    recorded = session.handle(events.Received(kept), 0.0)
    started = m.JobStarted(session="me", step="s", job="j", id="batch_1")

    assert planned == [job.model_copy(update={"lease": lease(1, 2)})]
    assert recorded == [TakeJobKept(kept)]
    assert said(session.handle(events.JobChanged(started), 0.0)) == [started]


@pytest.mark.parametrize("came_with_jobs", [False, True])
def test_who_asked_through_jobs_is_told_when_a_batch_is_recorded(came_with_jobs: bool) -> None:
    session = ready_session()
    session.handle(batch(1, jobs=came_with_jobs), 0.0)
    session.handle(batch(2), 0.0)
    if not came_with_jobs:
        session.handle(events.JobPlanned(m.Job(session="me", lease=lease(1), job="j", size=1, requests=())), 0.0)

    first = session.handle(events.Received(m.Ack(lease=lease(1))), 0.0)
    again = session.handle(events.Received(m.Ack(lease=lease(1))), 0.0)
    other = session.handle(events.Received(m.Ack(lease=lease(2))), 0.0)

    assert first == [TakeRecorded(lease(1))]
    assert again == other == []

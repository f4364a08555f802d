"""The session of a host alone: it has what the broker says, tells each run of its processes, and leaves in order."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.protocol import messages as m
from distilmq.protocol.messages.broker import Grant, Grants, HostBeat, HostHello
from distilmq.protocol.messages.slots import Offer
from distilmq_workers.host import events
from distilmq_workers.host.commands import (
    Command,
    GoBy,
    KillProcess,
    Leave,
    Say,
    StartProcess,
    Tell,
    TerminateProcess,
)
from distilmq_workers.host.introductions import HELLO_AGAIN
from distilmq_workers.host.session import BROKER, BROKER_LOST, REFUSED, HostSession
from distilmq_workers.host.settings import HostSettings, OnLoss

WELCOME = m.Welcome(run="", epoch=1, heartbeat=1.0, liveness=15.0, max_message=10**6)


class Scene:
    """A session, and what it has asked for so far."""

    def __init__(self, **told: object) -> None:
        settings = HostSettings(worker="h", offer=Offer(slots=4), **told)  # type: ignore[arg-type]
        self.names = iter(f"c{number}" for number in range(1, 1000))
        self.session = HostSession(
            settings,
            session="me",
            versions=m.Versions(python="3.11"),
            host="machine",
            pid=7,
            new_child=lambda: next(self.names),
            now=0.0,
        )

    def handle(self, event: events.Event, now: float) -> list[Command]:
        return self.session.handle(event, now)

    def hear(self, message: m.Message, now: float, run: str = BROKER) -> list[Command]:
        return self.handle(events.Received(run, message), now)

    def pass_time(self, until: float) -> list[Command]:
        """Every deadline up to then."""
        commands: list[Command] = []
        while (deadline := self.session.next_deadline()) <= until:
            before = len(commands)
            commands += self.handle(events.TimePassed(), deadline)
            if any(isinstance(command, Leave) for command in commands[before:]):
                return commands
            assert self.session.next_deadline() > deadline, "a deadline that has passed is named again"
        return commands

    def welcomed(self, now: float = 0.0) -> Scene:
        self.handle(events.TimePassed(), now)
        self.hear(WELCOME, now)
        return self


def grant(name: str, run: str = "r", **fields: object) -> Grant:
    return Grant.model_validate({"id": name, "run": run, "need": "s", "steps": ("s",), **fields})


def grants(*granted: Grant, name: str = "1.1") -> Grants:
    return Grants(id=name, grants=granted)


def said(commands: Iterable[Command], run: str = BROKER) -> list[m.Message]:
    return [command.message for command in commands if isinstance(command, Say) and command.run == run]


def of_kind(commands: Iterable[Command], *kinds: type) -> list[Command]:
    return [command for command in commands if isinstance(command, kinds)]


def test_it_says_hello_until_the_broker_is_there() -> None:
    scene = Scene()

    first = scene.handle(events.TimePassed(), 0.0)
    waiting = scene.pass_time(1000.0)
    welcomed = scene.hear(WELCOME, 1000.0)
    beats = scene.pass_time(1001.0)

    assert [type(message) for message in said(first)] == [HostHello]
    assert len(said(waiting)) == 1000 / HELLO_AGAIN
    assert of_kind(waiting, Leave, Tell) == []
    assert welcomed == [Tell("the broker knows this worker, and gives it steps from here on")]
    assert scene.hear(WELCOME, 1001.0) == []
    assert said(beats) == [HostBeat(session="me")]


def test_it_starts_a_process_for_each_grant_and_tells_the_run_and_the_broker() -> None:
    scene = Scene().welcomed()
    one, two = grant("1", gpus=("0",)), grant("2", "other")

    commands = scene.hear(grants(one, two), 0.5)
    scene.hear(WELCOME.model_copy(update={"run": "r", "heartbeat": 0.1}), 0.5, "r")
    beats = scene.pass_time(1.0)

    assert of_kind(commands, StartProcess) == [StartProcess("c1", one), StartProcess("c2", two)]
    assert [(hello.role, hello.worker) for hello in said(commands, "r") if isinstance(hello, m.Hello)] == [
        ("supervisor", "h")
    ]
    assert said(beats, "r")[0] == m.Heartbeat(session="me", children=("c1",))
    assert said(beats)[-1] == HostBeat(session="me", grants=("1", "2"), heard="1.1")


def test_a_list_that_comes_again_changes_nothing() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)

    assert scene.hear(grants(grant("1")), 0.2) == []


def test_a_grant_that_is_not_listed_any_more_is_drained() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1"), grant("2")), 0.1)

    commands = scene.hear(grants(grant("2"), name="1.2"), 0.2)
    again = scene.hear(grants(grant("2"), name="1.2"), 0.3)
    still = said(scene.pass_time(1.5))[-1]
    ended = scene.handle(events.ProcessEnded("c1", 0), 2.0)

    assert of_kind(commands, TerminateProcess) == [TerminateProcess("c1")]
    assert of_kind(again, TerminateProcess) == []
    assert still == HostBeat(session="me", grants=("1", "2"), heard="1.2")
    assert said(ended) == [HostBeat(session="me", grants=("2",), heard="1.2")]
    assert of_kind(ended, StartProcess) == []


def test_a_process_that_it_has_ended_is_told_of_as_such() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)
    scene.hear(grants(name="1.2"), 0.2)

    commands = scene.handle(events.ProcessEnded("c1", -15, "", 0.1), 0.3)

    assert said(commands, "r")[0] == m.Exited(session="me", child="c1", code=-15, told=True)


def test_a_process_that_dies_is_told_of_and_replaced() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)

    commands = scene.handle(events.ProcessEnded("c1", -9, "last words", 5.0), 5.0)

    assert said(commands, "r")[0] == m.Exited(session="me", child="c1", code=-9, output="last words")
    assert of_kind(commands, StartProcess) == [StartProcess("c2", grant("1"))]


def test_a_process_that_dies_at_once_again_and_again_is_started_more_and_more_slowly() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.0)
    starts = [0.0]

    for number in range(1, 12):
        now = starts[-1]
        commands = scene.handle(events.ProcessEnded(f"c{number}", 1, "", 0.0), now)
        while not of_kind(commands, StartProcess):
            scene.hear(grants(grant("1")), now)
            now = scene.session.next_deadline()
            commands = scene.handle(events.TimePassed(), now)
        starts.append(now)

    assert starts[3] == 0.0
    assert starts[-1] - starts[-2] == pytest.approx(2.0)


def test_a_grant_whose_process_left_by_its_own_will_is_over() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)

    commands = scene.handle(events.ProcessEnded("c1", 0), 1.0)
    listed_again = scene.hear(grants(grant("1")), 1.1)
    another = scene.hear(grants(grant("2"), name="1.2"), 1.2)

    assert said(commands) == [HostBeat(session="me", heard="1.1")]
    assert [type(message) for message in said(commands, "r")] == [m.Exited, m.Bye]
    assert of_kind(listed_again, StartProcess) == []
    assert of_kind(another, StartProcess) == [StartProcess("c2", grant("2"))]


def test_a_host_whose_name_another_one_has_goes_by_the_one_it_is_told() -> None:
    scene = Scene().welcomed()

    commands = scene.hear(Grants(id="1.1", grants=(grant("1"),), worker="h-me"), 0.1)
    again = scene.hear(Grants(id="1.1", grants=(grant("1"),), worker="h-me"), 0.2)
    (hello,) = said(scene.hear(m.Who(), 0.3))

    assert commands.index(GoBy("h-me")) < commands.index(StartProcess("c1", grant("1")))
    assert "another worker is called h" in of_kind(commands, Tell)[0].text
    assert [message.worker for message in said(commands, "r") if isinstance(message, m.Hello)] == ["h-me"]
    assert of_kind(again, GoBy) == []
    assert isinstance(hello, HostHello)
    assert hello.worker == "h-me"


def test_a_broker_that_does_not_know_it_is_told_what_it_has() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)

    (hello,) = said(scene.hear(m.Who(), 0.2))

    assert isinstance(hello, HostHello)
    assert (hello.grants, hello.heard) == ((grant("1"),), "1.1")


def test_a_run_that_does_not_know_it_is_greeted_again() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)
    scene.hear(WELCOME, 0.1, "r")

    (hello,) = said(scene.hear(m.Who(), 0.2, "r"), "r")

    assert isinstance(hello, m.Hello)


def test_a_run_ends_only_its_own_processes() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1"), grant("2", "other")), 0.1)

    foreign = scene.hear(m.Kill(child="c2"), 0.2, "r")
    own = scene.hear(m.Kill(child="c1"), 0.2, "r")
    stopped = scene.hear(m.Stop(now=True), 0.3, "r")
    unknown = scene.hear(m.Stop(now=True), 0.4, "nobody's")

    assert of_kind(foreign, KillProcess) == of_kind(unknown, KillProcess) == []
    assert of_kind(own, KillProcess) == of_kind(stopped, KillProcess) == [KillProcess("c1")]


def test_a_run_that_refuses_it_is_told_in_its_log_and_served_no_more() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)

    commands = scene.hear(m.Refused(reason="this worker runs Python 3.11", fix="Start 3.12."), 0.2, "r")
    ended = scene.handle(events.ProcessEnded("c1", -15), 0.3)

    assert commands[0] == Tell("run r refused this worker: this worker runs Python 3.11. Start 3.12.")
    assert of_kind(commands, TerminateProcess) == [TerminateProcess("c1")]
    assert of_kind(ended, StartProcess) == []


def test_a_broker_that_refuses_it_ends_it() -> None:
    commands = Scene().hear(m.Refused(reason="the broker speaks another version", fix="Install it."), 0.0)

    assert commands[0] == Tell("refused: the broker speaks another version. Install it.")
    assert commands[-1] == Leave(REFUSED)


def test_a_host_that_was_welcomed_goes_on_when_a_message_of_it_is_refused() -> None:
    scene = Scene().welcomed()

    commands = scene.hear(m.Refused(reason="not a message"), 0.1)

    assert commands == [Tell("refused: not a message.")]


def test_a_stall_is_told_to_the_run_of_the_process() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)

    (note,) = said(scene.handle(events.ProcessStalled("c1", "here"), 0.2), "r")

    assert isinstance(note, m.Note)
    assert (note.event, note.child) == ("stalled", "c1")


def test_the_first_sigterm_drains_and_the_second_leaves_at_once() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.1)

    first = scene.handle(events.TerminateAsked(), 1.0)
    more = scene.hear(grants(grant("1"), grant("2"), name="1.2"), 1.1)
    second = scene.handle(events.TerminateAsked(), 2.0)

    assert said(first) == [HostBeat(session="me", grants=("1",), heard="1.1", leaving=True)]
    assert of_kind(first, TerminateProcess) == [TerminateProcess("c1")]
    assert of_kind(more, StartProcess) == []
    assert [type(message) for message in said(second)] == [m.Bye]
    assert second[-1] == Leave(0)


def test_a_host_that_is_told_to_leave_does_so_when_its_last_process_has_ended() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1"), grant("2")), 0.1)
    scene.handle(events.TerminateAsked(), 1.0)

    early = scene.handle(events.ProcessEnded("c1", 0), 2.0)
    late = scene.handle(events.ProcessEnded("c2", -11), 3.0)

    assert of_kind(early, Leave) == []
    assert late[-1] == Leave(0)


@pytest.mark.parametrize(("told", "at"), [({"time_limit": 60.0}, 60.0), ({"idle_timeout": 30.0}, 30.0)])
def test_its_time_may_be_limited(told: dict[str, float], at: float) -> None:
    scene = Scene(**told)
    scene.welcomed()
    for now in range(5, int(at), 5):
        scene.pass_time(float(now))
        scene.hear(grants(), float(now))

    early = scene.pass_time(at - 0.1)
    then = scene.pass_time(at)

    assert of_kind(early, Leave) == []
    assert then[-1] == Leave(0)


def test_a_host_with_something_to_do_is_not_idle() -> None:
    scene = Scene(idle_timeout=30.0)
    scene.welcomed()
    scene.hear(grants(grant("1")), 20.0)
    for now in range(30, 100, 10):
        scene.hear(grants(grant("1")), float(now))
        assert of_kind(scene.pass_time(now + 9.0), Leave) == []

    scene.handle(events.ProcessEnded("c1", 0), 100.0)
    for now in range(110, 130, 10):
        scene.hear(grants(grant("1")), float(now))

    assert scene.pass_time(130.0)[-1] == Leave(0)


@pytest.mark.parametrize(
    ("policy", "drains_at", "leaves_at"),
    [(OnLoss("wait", 600.0), 615.0, None), (OnLoss("finish"), 15.0, None), (OnLoss("exit"), None, 15.0)],
)
def test_a_broker_that_is_lost_is_dealt_with_as_was_said(
    policy: OnLoss, drains_at: float | None, leaves_at: float | None
) -> None:
    scene = Scene(on_loss=policy)
    scene.welcomed()
    scene.hear(grants(grant("1")), 0.0)

    early = scene.pass_time((drains_at or leaves_at or 0.0) - 0.1)
    then = scene.pass_time(drains_at or leaves_at or 0.0)

    assert of_kind(early, Leave, TerminateProcess) == []
    if leaves_at is not None:
        assert then[-1] == Leave(BROKER_LOST)
    else:
        assert of_kind(then, TerminateProcess) == [TerminateProcess("c1")]
        assert scene.handle(events.ProcessEnded("c1", 0), 700.0)[-1] == Leave(BROKER_LOST)


def test_a_broker_that_comes_back_in_time_finds_everything_as_it_was() -> None:
    scene = Scene().welcomed()
    scene.hear(grants(grant("1")), 0.0)
    lost = scene.pass_time(300.0)

    back = scene.hear(m.Who(), 300.0)
    scene.hear(WELCOME, 300.0)
    later = scene.pass_time(310.0)

    assert len(of_kind(lost, Tell)) == 1
    assert of_kind(back, Tell) == [Tell("the broker is back")]
    assert of_kind([*lost, *back, *later], TerminateProcess, KillProcess, Leave) == []


EVENTS = st.one_of(
    st.lists(st.sampled_from(["1", "2", "3"]), unique=True).map(lambda names: ("list", tuple(names))),
    st.tuples(st.just("end"), st.integers(0, 2), st.sampled_from([0, -9])),
    st.just(("term",)),
    st.just(("who",)),
    st.tuples(st.just("time"), st.floats(0.1, 5.0)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_a_grant_has_one_process_at_most_and_the_beats_name_just_those(happening: list[tuple]) -> None:  # type: ignore[type-arg]
    scene = Scene().welcomed()
    now, living, lists = 0.0, {}, 0

    for event in happening:
        match event:
            case ("list", names):
                lists += 1
                commands = scene.hear(grants(*map(grant, names), name=f"1.{lists}"), now)
            case ("end", place, code) if place < len(living):
                child = list(living)[place]
                del living[child]
                commands = scene.handle(events.ProcessEnded(child, code, "", 9.0), now)
            case ("term",):
                commands = scene.handle(events.TerminateAsked(), now)
            case ("who",):
                commands = scene.hear(m.Who(), now)
            case ("time", seconds):
                now += seconds
                commands = scene.handle(events.TimePassed(), now)
            case _:
                continue
        for command in commands:
            if isinstance(command, StartProcess):
                assert command.grant.id not in living.values()
                living[command.child] = command.grant.id
            if isinstance(command, TerminateProcess | KillProcess):
                assert command.child in living
        if of_kind(commands, Leave):
            return
        beats = [message for message in said(commands) if isinstance(message, HostBeat)]
        assert all(set(beat.grants) >= set(living.values()) for beat in beats[-1:])

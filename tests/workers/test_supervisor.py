"""A real supervisor with real step processes: whatever they do, it beats, tells and replaces; none outlives it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from distilmq.protocol import messages as m
from tests.workers import sample_steps as samples
from tests.workers.coordinator import PATIENCE, ScriptedCoordinator, Worker, all_gone


@pytest.fixture
def coordinator() -> Iterator[ScriptedCoordinator]:
    with ScriptedCoordinator() as scripted:
        yield scripted


def supervisor_beats(coordinator: ScriptedCoordinator, session: str) -> list[float]:
    return [at for at, beat in coordinator.beats if beat.session == session]


def exited(coordinator: ScriptedCoordinator, worker: Worker) -> m.Exited:
    told, _, _ = coordinator.hear(m.Exited, lambda message: message.child == worker.hello.session)
    return told


def test_it_keeps_its_slots_and_names_them_in_its_beats(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_supervisor(slots=2)
    hello, _ = coordinator.supervisor()
    sessions = {coordinator.slot().hello.session, coordinator.slot().hello.session}

    coordinator.until(
        lambda: any(b.session == hello.session and set(b.children) == sessions for _, b in coordinator.beats)
    )

    assert (hello.worker, hello.capacity, hello.role) == ("host", 2, "supervisor")


def test_a_killed_process_is_told_of_and_replaced(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_supervisor()
    worker = coordinator.slot(samples.Double(name="double"))
    worker.run(0, [1])

    os.kill(worker.hello.pid, signal.SIGKILL)
    told = exited(coordinator, worker)
    replaced = coordinator.slot(samples.Double(name="double"))
    _, rows = replaced.run(1, [2])

    assert told.code == -signal.SIGKILL
    assert replaced.hello.session != worker.hello.session
    assert rows == [{"n": 2, "doubled": 4}]


@pytest.mark.parametrize(("how", "code"), [("segfault", -signal.SIGSEGV), ("exit", 9)])
def test_the_last_words_of_a_process_that_dies_are_told(coordinator: ScriptedCoordinator, how: str, code: int) -> None:
    coordinator.start_supervisor()
    worker = coordinator.slot(samples.Dying(name="dying", how=how))

    worker.hand(0, [1])
    told = exited(coordinator, worker)

    assert told.code == code
    assert "about to die" in told.output
    if how == "segfault":
        assert "Segmentation fault" in told.output
        assert "sample_steps.py" in told.output


def test_it_beats_while_a_step_holds_the_interpreter(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_supervisor()
    hello, _ = coordinator.supervisor()
    worker = coordinator.slot(samples.Hogging(name="hogging", seconds=2.5))

    began, before = time.monotonic(), len(supervisor_beats(coordinator, hello.session))
    worker.hand(0, [1])
    worker.result()
    ended = time.monotonic()

    beats = supervisor_beats(coordinator, hello.session)[before:]
    assert ended - began >= 2.5
    assert len(beats) >= 5
    assert max(later - earlier for earlier, later in pairwise(beats)) < 2.0


def test_a_step_that_holds_the_interpreter_is_shown_as_stalled(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_supervisor()
    hello, _ = coordinator.supervisor()
    worker = coordinator.slot(samples.Hogging(name="hogging", seconds=6.0), stall_after=0.5)

    worker.hand(0, [1])
    note, _, _ = coordinator.hear(m.Note, lambda message: message.session == hello.session)

    assert note.event == "stalled"
    assert worker.hello.session in note.text
    assert "sample_steps.py" in note.text


def test_a_stopped_process_goes_on_when_it_is_continued(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_supervisor()
    hello, _ = coordinator.supervisor()
    worker = coordinator.slot(samples.Double(name="double"))

    os.kill(worker.hello.pid, signal.SIGSTOP)
    worker.hand(0, [1])
    before = len(supervisor_beats(coordinator, hello.session))
    coordinator.until(lambda: len(supervisor_beats(coordinator, hello.session)) > before + 5)
    assert coordinator.said(m.Result) == []
    os.kill(worker.hello.pid, signal.SIGCONT)
    _, rows = worker.result()

    assert rows == [{"n": 1, "doubled": 2}]


def test_a_step_that_never_returns_is_killed_on_demand_and_replaced(
    coordinator: ScriptedCoordinator, tmp_path: Path
) -> None:
    coordinator.start_supervisor()
    _, peer = coordinator.supervisor()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(tmp_path / "never")))
    worker.hand(0, [1])

    coordinator.say(peer, m.Kill(child=worker.hello.session))
    told = exited(coordinator, worker)
    other = coordinator.slot()

    assert told.code == -signal.SIGKILL
    assert other.hello.session != worker.hello.session


def test_what_a_step_started_goes_with_its_process(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    told = tmp_path / "told"
    coordinator.start_supervisor()
    worker = coordinator.slot(samples.Starting(name="starting", told=str(told)))
    started = int(told.read_text())

    worker.say(m.Stop())
    exited(coordinator, worker)

    assert all_gone([started])


def test_slots_are_added_when_they_are_asked_for(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_supervisor()
    _, peer = coordinator.supervisor()
    coordinator.slot()

    coordinator.say(peer, m.Slots(count=2))

    assert coordinator.slot().hello.role == "worker"


def test_a_slot_that_is_not_wanted_any_more_is_not_filled_again(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_supervisor(slots=2)
    hello, peer = coordinator.supervisor()
    first, second = coordinator.slot(), coordinator.slot()

    coordinator.say(peer, m.Slots(count=1))
    first.say(m.Stop())
    exited(coordinator, first)
    coordinator.until(
        lambda: any(b.session == hello.session and b.children == (second.hello.session,) for _, b in coordinator.beats)
    )

    assert coordinator.said(m.Hello) == []


def test_a_stop_lets_everyone_unload(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    told = tmp_path / "told"
    process = coordinator.start_supervisor(slots=2)
    _, peer = coordinator.supervisor()
    leaver = coordinator.slot(samples.Leaver(name="leaver", told=str(told)))
    idle = coordinator.slot()

    coordinator.say(peer, m.Stop())

    assert process.wait(PATIENCE) == 0
    assert told.read_text() == "unloaded"
    assert all_gone([leaver.hello.pid, idle.hello.pid], patience=0)
    coordinator.until(lambda: len(coordinator.said(m.Bye)) == 3)


@pytest.mark.parametrize("how", ["pipe", "kill"])
def test_no_process_is_left_when_whoever_started_it_is_gone(
    coordinator: ScriptedCoordinator, tmp_path: Path, how: str
) -> None:
    process = coordinator.start_supervisor(slots=2)
    busy = coordinator.slot(samples.Gated(name="gated", gate=str(tmp_path / "never")))
    idle = coordinator.slot()
    busy.hand(0, [1])

    if how == "pipe":
        assert process.stdin is not None
        process.stdin.close()
    else:
        process.kill()
    process.wait(PATIENCE)

    assert all_gone([busy.hello.pid, idle.hello.pid])


def test_the_first_sigterm_finishes_what_is_in_hand(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    process = coordinator.start_supervisor()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(gate), begun=str(begun)))
    worker.hand(0, [1])
    coordinator.until(begun.exists)

    process.send_signal(signal.SIGTERM)
    gate.touch()
    _, rows = worker.result()

    assert rows == [{"n": 1, "doubled": 2}]
    assert process.wait(PATIENCE) == 0
    coordinator.until(lambda: len(coordinator.said(m.Bye)) == 2)


def test_the_second_sigterm_ends_everything_at_once(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    process = coordinator.start_supervisor()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(tmp_path / "never"), begun=str(begun)))
    worker.hand(0, [1])
    coordinator.until(begun.exists)
    watched = psutil.Process(process.pid)

    def ended() -> bool:
        process.send_signal(signal.SIGTERM)
        return process.poll() is not None

    process.send_signal(signal.SIGINT)
    assert watched.is_running()
    coordinator.until(ended)

    # A third signal may come while the interpreter is ending, after its handlers are gone.
    assert process.returncode in {0, -signal.SIGTERM}
    assert all_gone([worker.hello.pid])


def test_a_welcome_that_was_lost_is_asked_for_again(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_supervisor()
    hello, peer = coordinator.supervisor()

    coordinator.say(peer, m.Who())
    again, _ = coordinator.supervisor()

    assert again.session == hello.session

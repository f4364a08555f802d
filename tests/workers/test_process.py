"""One real step process and a scripted coordinator: what it answers, keeps, gives back, and how it leaves."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.protocol import messages as m
from distilmq.protocol.packing import pack
from distilmq.protocol.rows import decode_row
from tests.stopwatch import Stopwatch
from tests.workers import sample_steps as samples
from tests.workers.coordinator import PATIENCE, ScriptedCoordinator


@pytest.fixture
def coordinator() -> Iterator[ScriptedCoordinator]:
    with ScriptedCoordinator() as scripted:
        yield scripted


def test_a_batch_is_done(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Double(name="double"))

    result, rows = worker.run(0, [1, 2, 3])

    assert rows == [{"n": 1, "doubled": 2}, {"n": 2, "doubled": 4}, {"n": 3, "doubled": 6}]
    assert (result.lease, result.rows, result.failures) == (worker.lease(0), 3, ())


def test_only_the_row_that_raises_fails(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Double(name="double", bad=(3,)))

    result, rows = worker.run(0, range(6))

    assert [row["doubled"] for row in rows] == [0, 2, 4, None, 8, 10]
    assert rows[3]["distilmq_metadata"] == {"error_double": "ValueError: no 3"}
    [failure] = result.failures
    assert (failure.row, failure.error.type, failure.error.message) == (3, "ValueError", "no 3")
    assert decode_row(failure.input) == {"n": 3}
    assert "sample_steps.py" in failure.error.traceback
    assert "distilmq_workers" not in failure.error.traceback


@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_what_is_no_exception_fails_its_row_and_not_the_process(coordinator: ScriptedCoordinator, how: str) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Raising(name="raising", how=how))

    result, rows = worker.run(0, [0, 1, 2])

    assert [row["doubled"] for row in rows] == [0, None, 4]
    assert result.failures[0].error.type == ("SystemExit" if how == "exit" else "KeyboardInterrupt")


def test_a_load_that_raises_is_told_with_its_traceback(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot()

    worker.assign(samples.Unloadable(name="unloadable"))
    told, _, _ = coordinator.hear(m.LoadFailed)

    assert (told.step, told.error.type, told.error.message) == ("unloadable", "RuntimeError", "no model here")
    assert "in load" in told.error.traceback


def test_another_python_is_refused_before_anything_is_unpickled(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot()

    worker.say(m.Assign(step="any", replica=0, python="3.2"), [b"no pickle at all"])
    told, _, _ = coordinator.hear(m.LoadFailed)

    assert "Python 3.2" in told.error.message


def test_it_says_what_it_holds_and_knows_a_batch_that_comes_twice(
    coordinator: ScriptedCoordinator, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    coordinator.start_process()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(gate)))
    worker.hand(0, [1])
    worker.hand(1, [2])
    worker.hand(0, [1], attempt=2)

    worker.say(m.Who())
    hello, _, _ = coordinator.hear(m.Hello)
    held = {worker.lease(0, attempt=2), worker.lease(1)}
    coordinator.until(lambda: any(set(beat.held) == held for _, beat in coordinator.beats))
    gate.touch()
    first, _ = worker.result()
    second, _ = worker.result()

    assert (hello.step, hello.ready, set(hello.held)) == ("gated", True, held)
    assert [first.lease, second.lease] == [worker.lease(0, attempt=2), worker.lease(1)]
    coordinator.until(lambda: coordinator.beats[-1][1].held == ())


def test_a_result_is_kept_until_its_ack_and_offered_again(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Double(name="double"))
    worker.hand(0, [1])
    lost, rows = worker.result(ack=False)

    coordinator.epoch = 2
    coordinator.welcome(worker.peer)
    again, same_rows = worker.result(ack=False)
    later, _ = worker.result(ack=True)  # nobody asked: it waited for an Ack long enough

    assert again == lost == later
    assert rows == same_rows == [{"n": 1, "doubled": 2}]
    coordinator.until(lambda: coordinator.beats[-1][1].held == ())


def test_a_coordinator_that_forgot_it_is_told_everything(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Double(name="double"))
    worker.hand(3, [1])
    worker.result(ack=False)

    coordinator.epoch = 2
    worker.say(m.Who())
    hello, _, _ = coordinator.hear(m.Hello)
    offered, _ = worker.result()

    assert hello.held == (worker.lease(3),)
    assert offered.lease == worker.lease(3)


def test_draining_gives_back_what_is_not_begun_and_then_what_is_not_done(
    coordinator: ScriptedCoordinator, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    coordinator.start_process()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(tmp_path / "never"), begun=str(begun)))
    worker.hand(0, [1])
    worker.hand(1, [2])
    coordinator.until(begun.exists)

    worker.say(m.Drain(timeout=0.3))
    first, _, _ = coordinator.hear(m.Returned)
    second, _, _ = coordinator.hear(m.Returned)

    assert [first.lease, second.lease] == [worker.lease(1), worker.lease(0)]


def test_a_stop_unloads_and_leaves(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    told = tmp_path / "told"
    process = coordinator.start_process()
    worker = coordinator.slot(samples.Leaver(name="leaver", told=str(told)))
    worker.run(0, [1])

    worker.say(m.Stop())
    coordinator.hear(m.Bye)

    assert process.wait(PATIENCE) == 0
    assert told.read_text() == "unloaded"


def test_a_stop_waits_for_what_is_in_hand_and_for_its_ack(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    process = coordinator.start_process()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(gate), begun=str(begun)))
    worker.hand(0, [1])
    coordinator.until(begun.exists)

    worker.say(m.Stop())
    gate.touch()
    result, _ = worker.result(ack=False)
    assert coordinator.said(m.Bye) == []
    worker.say(m.Ack(lease=result.lease))
    coordinator.hear(m.Bye)

    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("where", ["loading", "running"])
def test_a_stop_at_once_waits_for_nothing(coordinator: ScriptedCoordinator, tmp_path: Path, where: str) -> None:
    begun = tmp_path / "begun"
    process = coordinator.start_process()
    if where == "loading":
        worker = coordinator.slot()
        worker.assign(samples.NeverLoaded(name="loading"))
    else:
        worker = coordinator.slot(samples.Gated(name="gated", gate=str(tmp_path / "never"), begun=str(begun)))
        worker.hand(0, [1])
        coordinator.until(begun.exists)

    watch = Stopwatch()
    worker.say(m.Stop(now=True))

    assert process.wait(PATIENCE) == 0
    assert watch.seconds < 2


def test_the_first_sigterm_finishes_what_is_in_hand(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    process = coordinator.start_process()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(gate), begun=str(begun)))
    worker.hand(0, [1])
    worker.hand(1, [2])
    coordinator.until(begun.exists)

    process.send_signal(signal.SIGTERM)
    gate.touch()
    result, _ = worker.result()
    returned, _, _ = coordinator.hear(m.Returned)

    assert (result.lease, returned.lease) == (worker.lease(0), worker.lease(1))
    assert process.wait(PATIENCE) == 0


def test_the_second_sigterm_waits_for_nothing(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    process = coordinator.start_process()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(tmp_path / "never"), begun=str(begun)))
    worker.hand(0, [1])
    coordinator.until(begun.exists)

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)

    # The kernel makes one of two signals that come at once, so the second is sent until it was one.
    assert until_ended(coordinator, process) == 0


def test_secrets_and_the_artifacts_folder_arrive(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    coordinator.start_process()
    step = samples.Secretive(name="secretive")
    worker = coordinator.slot(step, secrets={"api_key": "sk-1"}, artifacts=str(tmp_path))

    _, rows = worker.run(0, [1])

    assert rows == [{"n": 1, "key": "sk-1", "folder": str(tmp_path)}]


def test_a_generator_goes_on_from_batch_to_batch_and_ends_cleanly(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Counting(name="counting", total=5, batch_size=2, says_last=False))

    taken = [worker.run(number) for number in range(5)]

    assert [([row["n"] for row in rows], result.last) for result, rows in taken] == [
        ([0, 1], False),
        ([2, 3], False),
        ([4], False),
        ([], True),
        ([], True),
    ]


def test_a_generator_begins_where_it_is_told_to(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Counting(name="counting", total=10, batch_size=2))

    worker.hand(3, offset=6)
    worker.hand(4, offset=6)
    first, second = worker.result(), worker.result()

    assert [row["n"] for row in first[1]] == [6, 7]
    assert [row["n"] for row in second[1]] == [8, 9]
    assert second[0].last


def test_a_global_step_that_raises_fails_as_a_whole(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Total(name="total"))

    _, rows = worker.run(0, [1, 2, 3])
    worker.hand(1, [])
    failed, _, _ = coordinator.hear(m.Failed)

    assert rows == [{"total": 6}]
    assert (failed.error.type, failed.error.message) == ("ValueError", "nothing to add up")


def test_a_join_of_unequal_lists_names_its_branches(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Pairing(name="pairing"))

    _, rows = worker.run(0, [1, 2], [3, 4])
    worker.hand(1, [1, 2], [3])
    failed, _, _ = coordinator.hear(m.Failed)

    assert [row["pair"] for row in rows] == [[1, 3], [2, 4]]
    assert failed.error.type == "JoinError"
    assert "'branch_0' gave 2, 'branch_1' gave 1" in failed.error.message
    assert "'pairing'" in failed.error.message


def test_answers_are_told_at_once_and_found_again(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Asking(name="asking"))
    recorded = pack([[1, b"5", 0, b"old"]])

    worker.hand(0, [4, 5, 13], answers=recorded)
    told = [coordinator.hear(m.Answered) for _ in range(2)]
    result, rows = worker.result()

    # Halving finds every answer again: two were asked for, and no third.
    assert [(said.row, said.key, said.occurrence, payload) for said, payload, _ in told] == [
        (0, b"4", 0, [b"new"]),
        (2, b"13", 0, [b"new"]),
    ]
    assert [row["answer"] for row in rows] == [b"new", b"old", None]
    assert coordinator.said(m.Answered) == []
    assert [failure.row for failure in result.failures] == [2]


def test_a_model_that_may_not_be_asked_any_more_gives_its_batch_back(
    coordinator: ScriptedCoordinator, tmp_path: Path
) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Asking(name="asking"))
    worker.run(0, [1])

    worker.say(m.Drain(timeout=60))
    worker.hand(1, [2])
    returned, _, _ = coordinator.hear(m.Returned)

    assert returned.lease == worker.lease(1)


def test_what_is_too_large_is_refused_where_it_was_made() -> None:
    with ScriptedCoordinator(max_message=10_000) as coordinator:
        coordinator.start_process()
        worker = coordinator.slot(samples.Double(name="double"))

        worker.hand(0, [{"n": 1, "text": "x" * 20_000}])
        failed, _, _ = coordinator.hear(m.Failed)

    assert "make `input_batch_size` smaller" in failed.error.message
    assert "'double'" in failed.error.message


def test_of_parts_only_a_row_that_is_too_large_by_itself_is_refused() -> None:
    with ScriptedCoordinator(max_message=10_000, max_part=2000) as coordinator:
        coordinator.start_process()
        worker = coordinator.slot(samples.Double(name="double"))

        worker.hand(0, [{"n": 1, "text": "x" * 5000}, {"n": 2, "text": "x" * 5000}])
        numbers = [coordinator.hear(m.ResultPart)[0].number for _ in range(2)]
        worker.hand(1, [{"n": 1, "text": "x" * 8000}])
        failed, _, _ = coordinator.hear(m.Failed)

    assert numbers == [0, 1]
    assert "step 'double' gave a row of 8," in failed.error.message
    assert "column 'text' takes 8,003" in failed.error.message
    assert "keep what is so large in a file" in failed.error.message


def test_a_step_that_does_not_return_is_shown_with_its_stack(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(tmp_path / "never")), stall_after=0.2)
    worker.hand(0, [1])

    note, _, _ = coordinator.hear(m.Note)

    assert (note.event, note.level, note.step, note.lease) == ("stalled", "warning", "gated", worker.lease(0))
    assert "in wait_for_file" in note.text
    assert "distilmq_workers" not in note.text


def test_what_a_step_logs_becomes_notes_and_what_it_prints_is_output(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Chatty(name="chatty"))

    worker.run(0, [1, 2])
    note, _, _ = coordinator.hear(m.Note)

    assert (note.level, note.step, note.text) == ("warning", "chatty", "there are 2 rows")
    assert "printed by the step" in coordinator.output.read_text()


def test_a_step_that_closes_its_output_is_done_all_the_same(coordinator: ScriptedCoordinator) -> None:
    coordinator.start_process()
    worker = coordinator.slot(samples.Mute(name="mute"))

    result, rows = worker.run(0, [1])

    assert result.failures == ()
    assert [row["doubled"] for row in rows] == [2]


def test_a_batch_that_is_not_wanted_any_more_is_forgotten(coordinator: ScriptedCoordinator, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    coordinator.start_process()
    worker = coordinator.slot(samples.Gated(name="gated", gate=str(gate), begun=str(begun)))
    for number in range(3):
        worker.hand(number, [number])
    coordinator.until(begun.exists)

    worker.say(m.Cancel(lease=worker.lease(0)))
    worker.say(m.Cancel(lease=worker.lease(1)))
    coordinator.until(lambda: bool(coordinator.beats) and coordinator.beats[-1][1].held == (worker.lease(2),))
    gate.touch()
    result, _ = worker.result()

    assert result.lease == worker.lease(2)


def until_ended(coordinator: ScriptedCoordinator, process: subprocess.Popen[bytes]) -> int | None:
    def ended() -> bool:
        process.send_signal(signal.SIGTERM)
        return process.poll() is not None

    coordinator.until(ended)
    return process.returncode

"""The broker as a program: it runs what is submitted, and outlives whatever ends it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.protocol import messages
from distilmq.protocol.messages import broker, runs
from distilmq.protocol.messages.slots import Offer
from tests.broker.front.brokers import PATIENCE, BrokerClient, Program, broker_in, client_of, start_command, worker_of
from tests.broker.recorded import journal_in, places_of, rows_of
from tests.broker.serving import Peer, Worker, chain
from tests.integration.runs import until

RUN = "run-1"
JUNK = [[b""], [b"", b"\x01"], [b"", b"\x09", b"header"], [b"", b"\x01", b"\xc1"], [b"\xff", b"\x01"], [b"run-1"]]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A broker."""
    with broker_in(tmp_path / "broker") as started:
        yield started


@pytest.mark.parametrize("tcp", [False, True], ids=["on a socket of its user's own", "with keys"])
def test_a_submitted_run_is_computed_by_workers_that_come_through_the_broker(tmp_path: Path, tcp: bool) -> None:
    with (
        broker_in(tmp_path / "broker", tcp=tcp) as program,
        BrokerClient(program) as client,
        worker_of(program, RUN) as worker,
    ):
        answer = client.start(RUN, chain("load"))
        worker.join()
        for place in range(3):
            batch, _ = worker.batch()
            worker.give(batch.lease, rows_of("load", place), last=place == 2)
        with client_of(program, RUN) as follower:
            follower.send(messages.Watch(session=follower.session))
            finished, _ = follower.expect(messages.Finished)
            rows = follower.fetch("load")

    assert answer == runs.RunStarted(run=RUN, asked=RUN, data=True)
    assert finished.outcome == "done"
    assert rows == [row for place in range(3) for row in rows_of("load", place)]


def test_runs_go_on_side_by_side(program: Program) -> None:
    with (
        BrokerClient(program) as client,
        worker_of(program, "one") as first,
        worker_of(program, "two") as second,
    ):
        client.start("one", chain("load"))
        client.start("two", chain("load"))
        first.join()
        second.join()
        batch, _ = second.batch()
        second.give(batch.lease, rows_of("load", 7), last=True)
        over = _until_state(client, "two", "done")
        batch, _ = first.batch()
        first.give(batch.lease, rows_of("load", 0), last=True)
        _until_state(client, "one", "done")

    assert over["one"].state == "running"
    assert _recorded(program, "one") == [0]
    assert _recorded(program, "two") == [0]


def test_the_same_submission_again_changes_nothing_and_one_under_the_same_key_attaches(program: Program) -> None:
    with BrokerClient(program) as client:
        client.start(RUN, chain("load"), key="script")
        again = client.start(RUN, chain("load"), key="script")
        attached = client.start("run-2", chain("load"), key="script")
        other = client.start("run-3", chain("load"))
        there = client.runs()

    assert again == runs.RunStarted(run=RUN, asked=RUN, data=True)
    assert attached == runs.RunStarted(run=RUN, asked="run-2", attached=True)
    assert other == runs.RunStarted(run="run-3", asked="run-3", data=True)
    assert list(there) == ["run-3", RUN]


@pytest.mark.parametrize("run", ["..", "a/b", "", ".hidden", "x" * 129])
def test_an_id_that_is_no_name_of_a_folder_is_denied(program: Program, run: str) -> None:
    with BrokerClient(program) as client:
        answer = client.start(run, chain("load"))

    assert isinstance(answer, runs.Denied)
    assert "cannot be the id of a run" in answer.reason


def test_a_plan_of_another_python_is_denied(program: Program) -> None:
    with BrokerClient(program) as client:
        answer = client.start(RUN, chain("load").model_copy(update={"python": "2.7"}))
        there = client.runs()

    assert isinstance(answer, runs.Denied)
    assert "Python 2.7" in answer.reason
    assert there == {}


@pytest.mark.parametrize("how", ["broker killed", "broker ended", "coordinator killed"])
def test_a_run_outlives_what_runs_it_and_no_batch_is_recorded_twice(program: Program, how: str) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, chain("load"))
        worker.join()
        first, _ = worker.batch()
        worker.give(first.lease, rows_of("load", 0))
        worker.expect(messages.Ack)
        second, _ = worker.batch()

        _end(program, how)

        # Its result is ready, and nobody is there to take it: it offers it to whoever asks.
        worker.give(second.lease, rows_of("load", 1), last=True)
        worker.expect(messages.Who)
        welcome = worker.hello(step="load", ready=True, held=(second.lease,))
        worker.give(second.lease, rows_of("load", 1), last=True)
        worker.expect(messages.Ack)
        _until_state(client, RUN, "done")
        with client_of(program, RUN) as follower:
            rows = follower.fetch("load")

    assert welcome.epoch == 2
    assert rows == rows_of("load", 0) + rows_of("load", 1)
    assert _recorded(program, RUN) == [0, 1]


def test_a_run_that_is_over_is_asked_about_as_long_as_one_likes(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker", DISTILMQ_LINGER="0.2") as program,
        BrokerClient(program) as client,
        worker_of(program, RUN) as worker,
    ):
        _run_to_the_end(client, worker)
        with client_of(program, RUN) as follower:
            first = follower.fetch("load")
        until(lambda: not program.coordinators(), "the coordinator has left")
        with client_of(program, RUN) as follower:
            follower.send(messages.Watch(session=follower.session))
            finished, _ = follower.expect(messages.Finished)
            second = follower.fetch("load")
        until(lambda: not program.coordinators(), "the one that was asked has left")
        state = client.runs()[RUN].state

    assert first == second == rows_of("load", 0)
    assert (finished.outcome, state) == ("done", "done")


def test_a_client_that_closes_ends_nothing_but_its_own_visit(program: Program) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, chain("load"))
        worker.join()
        batch, _ = worker.batch()
        with client_of(program, RUN) as follower:
            follower.send(messages.Control(session=follower.session, action="close"))
            follower.send(messages.Watch(session=follower.session))
            follower.expect(messages.Who)
        worker.give(batch.lease, rows_of("load", 0), last=True)
        _until_state(client, RUN, "done")


def test_a_run_is_paused_resumed_stopped_gone_on_with_and_removed(program: Program) -> None:
    with BrokerClient(program) as client, worker_of(program, RUN) as worker:
        client.start(RUN, chain("load"))
        worker.join()
        first, _ = worker.batch()
        paused = client.control(RUN, "pause")
        _until_state(client, RUN, "paused")
        worker.give(first.lease, rows_of("load", 0))
        worker.expect(messages.Ack)
        assert not [batch for batch in worker.waiting(messages.Batch) if batch.lease.seq_no == (2,)]
        client.control(RUN, "resume")
        _until_state(client, RUN, "running")
        client.control(RUN, "stop", timeout=0.0)
        _until_state(client, RUN, "stopped")
        denied = client.control(RUN, "pause")
        client.control(RUN, "resume")
        with worker_of(program, RUN) as other:
            other.join()
            batch, _ = other.batch()
            early = client.control(RUN, "remove")
            other.give(batch.lease, rows_of("load", 1), last=True)
            _until_state(client, RUN, "done")
        done = client.control(RUN, "resume")
        removed = client.control(RUN, "remove")
        until(lambda: not program.run(RUN).exists(), "its folder is gone")
        there = client.runs()

    assert paused == runs.RunChanged(run=RUN, action="pause")
    assert denied == runs.Denied(reason="run 'run-1' is stopped already")
    assert isinstance(early, runs.Denied)
    assert "distilmq runs stop run-1" in early.fix
    assert done == runs.Denied(reason="run 'run-1' is done: there is nothing to go on with")
    assert removed == runs.RunChanged(run=RUN, action="remove")
    assert there == {}


def test_what_was_asked_of_a_run_is_kept_over_a_restart(program: Program) -> None:
    with BrokerClient(program) as client:
        client.start(RUN, chain("load"))
        client.control(RUN, "pause")
        program.kill()
        program.start_again()
        _until_state(client, RUN, "paused")
        client.control(RUN, "resume")
        _until_state(client, RUN, "running")


def test_a_second_broker_in_the_same_folder_says_which_is_the_first(program: Program) -> None:
    second = subprocess.run(
        [*start_command(), "--bind", "ipc:///tmp/distilmq-test-other/front", "--dir", str(program.folder)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert second.returncode == 1
    assert f"process {program.process.pid}" in second.stderr
    assert program.endpoint in second.stderr


def test_its_end_ends_its_coordinators(program: Program) -> None:
    with BrokerClient(program) as client:
        client.start(RUN, chain("load"))
        coordinators = until(program.coordinators, "there is a coordinator")
        code, said = program.terminate()

    assert (code, said) == (0, "")
    assert not any(process.is_running() for process in coordinators)


def test_the_log_of_a_run_is_read_in_parts(program: Program) -> None:
    with BrokerClient(program) as client:
        client.start(RUN, chain("load"))
        _until_state(client, RUN, "running")
        until(lambda: b"plan_accepted" in _log(client, RUN)[1], "the coordinator has said so")
        part, lines = _log(client, RUN)
        rest, nothing = _log(client, RUN, part.offset)
        _, beyond = _log(client, RUN, 2**63)
        denied = client.ask(runs.ReadLog(session=client.session, run="run-2"))

    assert part.offset == len(lines)
    assert beyond == b""
    assert (nothing, rest.offset) == (b"", part.offset) or nothing.endswith(b"\n")
    assert denied == runs.Denied(
        reason="there is no run 'run-2'", fix="`distilmq runs list` shows those that there are"
    )


def test_who_comes_for_a_run_that_is_not_there_is_told_so(program: Program) -> None:
    with Peer("", run="run-9", connection=program.connection("worker")) as peer:
        peer.send(messages.Hello(role="worker", worker="host-1", session=peer.session))
        refused, _ = peer.expect(messages.Refused)

    assert refused.reason == "there is no run 'run-9'"


def test_a_worker_of_a_run_that_is_over_is_sent_away(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker", DISTILMQ_LINGER="0.1") as program,
        BrokerClient(program) as client,
        worker_of(program, RUN) as worker,
    ):
        _run_to_the_end(client, worker)
        until(lambda: not program.coordinators(), "the coordinator has left")
        with worker_of(program, RUN) as late:
            late.send(messages.Heartbeat(session=late.session))
            stop, _ = late.expect(messages.Stop)

        assert stop.now
        assert not program.coordinators()


def test_junk_harms_nothing(program: Program) -> None:
    with Peer("", connection=program.connection("client")) as peer, BrokerClient(program) as client:
        for frames in JUNK:
            peer.send_frames(frames)

        assert client.runs() == {}


def test_a_workers_key_opens_no_door_for_clients(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker", tcp=True) as program,
        BrokerClient(program) as client,
        BrokerClient(program, "worker") as impostor,
        worker_of(program, RUN) as worker,
    ):
        client.start(RUN, chain("load"))
        submitted = impostor.start("run-2", chain("load"))
        listed = impostor.ask(runs.ListRuns(session=impostor.session))
        greeted = impostor.ask(messages.Hello(role="client", worker="me", session=impostor.session))
        worker.send(messages.Hello(role="client", worker="me", session=worker.session))
        refused, _ = worker.expect(messages.Refused)
        worker.send(messages.Control(session=worker.session, action="kill"))
        worker.expect(messages.Refused)
        there = client.runs()

    assert {type(answer) for answer in (submitted, listed, greeted)} == {messages.Refused}
    assert "worker's key" in refused.reason
    assert {run: info.state for run, info in there.items()} == {RUN: "running"}


def test_a_clients_key_opens_no_door_for_workers(tmp_path: Path) -> None:
    with broker_in(tmp_path / "broker", tcp=True) as program, BrokerClient(program) as client:
        client.start(RUN, chain("load"))
        hello = broker.HostHello(worker="host", session="s", offer=Offer())
        joined = client.ask(hello)
        with client_of(program, RUN) as peer:
            peer.send(messages.Hello(role="worker", worker="host", session="s"))
            refused, _ = peer.expect(messages.Refused)

    assert isinstance(joined, messages.Refused)
    assert "client's key" in refused.reason


def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        second = subprocess.run(
            [*start_command(), "--bind", endpoint, "--dir", str(tmp_path / "other")],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    assert (second.returncode, second.stderr) == (1, f"Cannot listen at {endpoint}: Address already in use\n")


def _run_to_the_end(client: BrokerClient, worker: Worker) -> None:
    client.start(RUN, chain("load"))
    worker.join()
    batch, _ = worker.batch()
    worker.give(batch.lease, rows_of("load", 0), last=True)
    _until_state(client, RUN, "done")


def _end(program: Program, how: str) -> None:
    if how == "coordinator killed":
        (coordinator,) = program.coordinators()
        coordinator.kill()
        coordinator.wait(60)
        return
    if how == "broker killed":
        program.kill()
    else:
        assert program.terminate() == (0, "")
    program.start_again()


def _until_state(client: BrokerClient, run: str, state: str) -> dict[str, runs.RunInfo]:
    def reached() -> dict[str, runs.RunInfo] | None:
        there = client.runs()
        return there if there[run].state == state else None

    return until(reached, f"run {run} is {state}")


def _log(client: BrokerClient, run: str, offset: int = 0) -> tuple[runs.LogPart, bytes]:
    part, payload = client.ask_for_frames(runs.ReadLog(session=client.session, run=run, offset=offset))
    assert isinstance(part, runs.LogPart)
    return part, payload[0]


def _recorded(program: Program, run: str) -> list[int]:
    with journal_in(program.run(run)) as journal:
        return places_of(journal, "load")

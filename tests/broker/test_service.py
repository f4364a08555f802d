"""The service between a real socket and a real journal, with the test as client and workers."""

from __future__ import annotations

import os
from pathlib import Path

import cloudpickle
import pytest

from distilmq.protocol import codec, messages
from distilmq.protocol.messages import ErrorInfo
from distilmq.protocol.plan import RouteSpec, encode_plan
from distilmq.protocol.rows import decode_rows
from distilmq_broker.core.commands import Command
from distilmq_broker.core.events import BatchDone, Event
from distilmq_broker.mind import RunMind
from tests.broker.recorded import rows_of
from tests.broker.serving import Client, Peer, Worker, chain, place_of, serving
from tests.integration.runs import until


def test_a_plan_of_three_steps_runs_to_its_end_and_its_rows_are_fetched(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        accepted = client.submit(chain("load", "ask", "keep"))
        workers = [Worker(server.endpoint) for _ in range(3)]
        assigned = {worker.join().step: worker for worker in workers}

        for place in range(4):
            batch, _ = assigned["load"].batch()
            assigned["load"].give(batch.lease, rows_of("load", place_of(batch.lease.seq_no)), last=place == 3)
        for name in ("ask", "keep"):
            for _ in range(4):
                batch, rows = assigned[name].batch()
                assigned[name].give(batch.lease, [{**row, "step": name} for row in rows])
        finished, _ = client.expect(messages.Finished)
        rows = client.fetch("keep", credit=3)
        for worker in workers:
            worker.connection.close()

    assert accepted == messages.Accepted(run="run", epoch=1, resumed=0)
    assert server.launcher.started == [3]
    assert finished.outcome == "done"
    assert rows == [row for place in range(4) for row in rows_of("keep", place)]


def test_a_worker_is_told_everything_about_its_step_and_gets_its_secrets(tmp_path: Path) -> None:
    secret = {"load": {"llm.api_key": "sk-very-secret"}}
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.send(messages.Secrets(session=client.session, values=secret))
        client.submit(chain("load"))
        worker.hello()
        assign, payload = worker.expect(messages.Assign)
        log = server.log

    assert assign.secrets == {"llm.api_key": "sk-very-secret"}
    assert payload == [b"definition of load"]
    assert assign.artifacts == str(tmp_path / "run" / "artifacts" / "load")
    kept = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert "sk-very-secret" not in log
    assert not any(b"sk-very-secret" in content for content in kept)


def test_a_result_is_acknowledged_once_it_is_durable(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0))
        ack, _ = worker.expect(messages.Ack)
        # Another reader of the ledger sees what is committed only.
        recorded = _committed(tmp_path / "run")

    assert ack.lease == batch.lease
    assert recorded == 1


def test_a_run_goes_on_where_the_last_coordinator_ended(tmp_path: Path) -> None:
    plan = chain("load", "keep")
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(plan)
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0))
        worker.expect(messages.Ack)

    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        accepted = client.submit(plan)
        workers = [Worker(server.endpoint) for _ in range(2)]
        assigned = {worker.join().step: worker for worker in workers}
        generated, _ = assigned["load"].batch()
        kept, rows = assigned["keep"].batch()
        for worker in workers:
            worker.connection.close()

    assert accepted == messages.Accepted(run="run", epoch=2, resumed=1)
    assert (place_of(generated.lease.seq_no), generated.offset) == (1, 5)
    assert (kept.lease.seq_no, rows) == ((), rows_of("load", 0))


def test_a_run_that_is_complete_is_accepted_and_finished_at_once(tmp_path: Path) -> None:
    plan = chain("load")
    _run_to_the_end(tmp_path / "run", batches=2)

    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        accepted = client.submit(plan)
        finished, _ = client.expect(messages.Finished)
        rows = client.fetch("load")

    assert accepted.resumed == 2
    assert finished.outcome == "done"
    assert rows == [*rows_of("load", 0), *rows_of("load", 1)]
    assert server.launcher.started == []


def test_a_run_that_is_only_read_starts_nothing_and_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0))
        worker.expect(messages.Ack)
    plan_before = (tmp_path / "run" / "plan.msgpack").read_bytes()

    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(chain("load", read_only=True))
        finished, _ = client.expect(messages.Finished)
        rows = client.fetch("load")

    assert finished.outcome == "stopped"
    assert rows == rows_of("load", 0)
    assert server.launcher.started == []
    assert (tmp_path / "run" / "plan.msgpack").read_bytes() == plan_before


def test_rows_are_fetched_while_the_run_goes_on_up_to_the_first_gap(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(chain("load", "keep"))
        workers = [Worker(server.endpoint) for _ in range(2)]
        assigned = {worker.join().step: worker for worker in workers}
        for place in range(2):
            batch, _ = assigned["load"].batch()
            assigned["load"].give(batch.lease, rows_of("load", place), last=place == 1)
        first, _ = assigned["keep"].batch()
        second, _ = assigned["keep"].batch()
        client.send(messages.Fetch(session=client.session, step="keep", credit=8))

        assigned["keep"].give(second.lease, rows_of("keep", 1))
        assigned["keep"].expect(messages.Ack)
        before = client.waiting(messages.Rows)
        assigned["keep"].give(first.lease, rows_of("keep", 0))
        answers = [client.expect(messages.Rows)[0] for _ in range(3)]
        for worker in workers:
            worker.connection.close()

    assert before == []
    assert [(answer.rows, answer.last) for answer in answers] == [(5, False), (5, False), (0, True)]


def test_a_fetch_gets_no_more_than_its_credit(tmp_path: Path) -> None:
    _run_to_the_end(tmp_path / "run", batches=5)

    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(chain("load"))
        client.expect(messages.Finished)
        client.send(messages.Fetch(session=client.session, step="load", credit=2))
        first = [client.expect(messages.Rows)[0] for _ in range(2)]
        more = client.waiting(messages.Rows)
        client.send(messages.Fetch(session=client.session, step="load", cursor=first[-1].cursor, credit=10))
        rest = [client.expect(messages.Rows)[0] for _ in range(4)]

    assert more == []
    assert [answer.rows for answer in (*first, *rest)] == [5, 5, 5, 5, 5, 0]
    assert rest[-1].last


def test_the_dead_letters_are_fetched(tmp_path: Path) -> None:
    failure = messages.RowFailure(row=2, error=ErrorInfo(type="ValueError", message="no"), input=b"row")
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0), failures=(failure,), last=True)
        client.expect(messages.Finished)
        client.send(messages.FetchFailures(session=client.session))
        some, _ = client.expect(messages.Failures)
        end, _ = client.expect(messages.Failures)

    (letter,) = some.failures
    assert (letter["step"], letter["row"], letter["input"], letter["error"]["type"]) == (
        "load",
        2,
        b"row",
        "ValueError",
    )
    assert end.failures == ()


def test_a_watching_client_sees_the_run_move(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        client.send(messages.Watch(session=client.session))
        first, _ = client.expect(messages.Progress)
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0), last=True)
        client.expect(messages.Finished)
        last, _ = client.expect(messages.Progress)
        while last.state != "done":
            last, _ = client.expect(messages.Progress)

    assert (first.state, first.steps[0].batches) == ("starting", 0)
    assert last.steps[0].batches == 1


def test_a_note_of_a_worker_is_logged_and_shown_to_those_who_watch(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        client.send(messages.Watch(session=client.session))
        worker.join()
        for level in ("debug", "warning"):
            note = messages.Note(session=worker.session, step="load", level=level, event="odd", text=f"at {level}")
            worker.send(note)
        shown, _ = client.expect(messages.Note)
        log = server.log

    assert shown.text == "at warning"
    assert '"event": "odd"' in log
    assert "at debug" not in log


def test_an_unknown_session_is_asked_who_it_is(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Peer(server.endpoint) as peer:
        client.submit(chain("load"))
        for message in (
            messages.Heartbeat(session="nobody"),
            messages.Ready(session="nobody", step="load"),
            messages.Submit(session="nobody"),
            messages.Exited(session="nobody", child="x", code=1),
        ):
            peer.send(message)
            peer.expect(messages.Who)


def test_a_session_on_another_connection_is_asked_who_it_is_and_its_result_counts(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        with Worker(server.endpoint, session=worker.session) as again:
            again.give(batch.lease, rows_of("load", 0), last=True)
            again.expect(messages.Who)
            finished, _ = client.expect(messages.Finished)
            rows = client.fetch("load")

    assert finished.outcome == "done"
    assert rows == rows_of("load", 0)


def test_nothing_that_a_peer_sends_ends_the_run(tmp_path: Path) -> None:
    junk = [
        [],
        [b""],
        [b"\x01"],
        [b"\x02", b"\x80"],
        [b"\x01", b""],
        [b"\x01", b"\xc1"],
        [b"\x01", b"\x93\x01\x02\x03"],
        [b"\x01", b"\x81\xa4kind\xa5hello"],
        [b"\x01", b"\x81\xa4kind\xa3???"],
        [b"\x01", os.urandom(2000)],
        [b"\x01", b"\xdd\xff\xff\xff\xff"],
        [b"\x01", b"\x91" * 5000],
        [b"\x01", b"x" * (codec.MAX_HEADER + 1)],
        [b"GET / HTTP/1.1\r\n\r\n"],
        [b"\x01", *[b"frame"] * 1000],
    ]
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        with Peer(server.endpoint) as stranger:
            for frames in junk:
                if frames:
                    stranger.send_frames(frames)
                    worker.send_frames(frames)
            refused, _ = stranger.expect(messages.Refused)
            worker.give(batch.lease, rows_of("load", 0), last=True)
            finished, _ = client.expect(messages.Finished)
            assert server.service is not None
            reception = server.service.reception
            until(lambda: reception.broken >= 2 * (len(junk) - 2), "all of it was counted")

    assert finished.outcome == "done"
    assert "at least two frames" in refused.reason or "protocol version" in refused.reason


def test_well_formed_messages_about_nothing_end_nothing_either(tmp_path: Path) -> None:
    lease = messages.Lease(step="no such step", seq_no=(7, 7, 7), part=9, attempt=99)
    error = ErrorInfo(type="X", message="x")
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        for message in (
            messages.Ready(session=worker.session, step="no such step"),
            messages.LoadFailed(session=worker.session, step="no such step", error=error),
            messages.Failed(session=worker.session, lease=lease, error=error),
            messages.Returned(session=worker.session, lease=lease),
            messages.Answered(session=worker.session, lease=lease, row=1, key=b"k"),
            messages.Heartbeat(session=worker.session, held=(lease,), children=("x",)),
            messages.FetchPart(session=worker.session, lease=lease),
            messages.FetchPart(session=worker.session, lease=batch.lease),
            messages.FetchPart(session=worker.session, lease=batch.lease, cursor=(-1, 10**15)),
            messages.Exited(session=worker.session, child="nobody", code=-9),
            messages.Fetch(session=worker.session, step="load"),
            messages.Control(session=worker.session, action="kill"),
        ):
            worker.send(message)
            worker.send(message, b"payload", b"and more")
        worker.send(messages.Result(session=worker.session, lease=lease, rows=1), b"\x91\xc4\x01x")
        worker.send(messages.Heartbeat(session=worker.session, held=(batch.lease,)))
        client.send(messages.Fetch(session=client.session, step="no such step"))
        worker.give(batch.lease, rows_of("load", 0), last=True)
        finished, _ = client.expect(messages.Finished)

    assert finished.outcome == "done"


def test_processes_that_were_told_to_end_before_they_could_say_hello_are_no_sign_of_a_fault(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        for number in range(20):
            worker.send(messages.Exited(session=worker.session, child=f"x{number}", code=-15, told=True))
        worker.give(batch.lease, rows_of("load", 0), last=True)
        finished, _ = client.expect(messages.Finished)

    assert finished.outcome == "done"


def test_rows_of_a_large_batch_are_asked_for_in_parts(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "run", max_part=300) as server,
        Client(server.endpoint) as client,
        Worker(server.endpoint) as load,
        Worker(server.endpoint) as keep,
    ):
        client.submit(chain("load", "keep"))
        load.join()
        keep.join(parts=True)
        given, _ = load.batch()
        load.give(given.lease, rows_of("load", 0), last=True)
        batch, frames = keep.expect(messages.Batch)
        [rows] = keep.parts(batch)
        for cursor in ((0,), (1, 0, 0, 0), (0, 9, 9, 9), (0, 0, 0, -1), (-1, 0, 0, 0)):
            keep.send(messages.FetchPart(session=keep.session, lease=batch.lease, cursor=cursor))
        again = keep.parts(batch)
        keep.give(batch.lease, rows_of("load", 0))
        finished, _ = client.expect(messages.Finished)

    assert (batch.parts, batch.inputs, batch.rows, frames) == (True, ("load",), (5,), [])
    assert decode_rows(rows) == rows_of("load", 0)
    assert again == [rows]
    assert finished.outcome == "done"


def test_a_worker_that_asks_for_no_parts_gets_a_large_batch_at_once(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "run", max_part=300) as server,
        Client(server.endpoint) as client,
        Worker(server.endpoint) as load,
        Worker(server.endpoint) as keep,
    ):
        client.submit(chain("load", "keep"))
        load.join()
        keep.join()
        given, _ = load.batch()
        load.give(given.lease, rows_of("load", 0), last=True)
        batch, rows = keep.batch()

    assert not batch.parts
    assert rows == rows_of("load", 0)


def test_a_part_is_sent_to_who_holds_the_batch_only(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "run", max_part=300) as server,
        Client(server.endpoint) as client,
        Worker(server.endpoint) as load,
        Worker(server.endpoint) as keep,
        Worker(server.endpoint) as stranger,
    ):
        client.submit(chain("load", "keep"))
        load.join()
        keep.join(parts=True)
        given, _ = load.batch()
        load.give(given.lease, rows_of("load", 0), last=True)
        batch, _ = keep.expect(messages.Batch)
        stranger.send(messages.FetchPart(session=stranger.session, lease=batch.lease))
        stranger.expect(messages.Who)
        stranger.hello(parts=True)
        stranger.send(messages.FetchPart(session=stranger.session, lease=batch.lease))
        cancelled, _ = stranger.expect(messages.Cancel)

    assert cancelled.lease == batch.lease


def test_a_plan_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.send(messages.Submit(session=client.session), b"\xc1 no plan")
        broken, _ = client.expect(messages.Refused)
        other = chain("load").model_copy(update={"python": "2.7"})
        client.send(messages.Submit(session=client.session), encode_plan(other))
        foreign, _ = client.expect(messages.Refused)
        accepted = client.submit(chain("load"))

    assert broken.reason.startswith("the plan cannot be read")
    assert "submitted from Python 2.7" in foreign.reason
    assert accepted.run == "run"


def test_a_worker_of_another_python_is_refused_before_anything_is_unpickled(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Peer(server.endpoint) as peer:
        client.submit(chain("load"))
        versions = messages.Versions(python="3.99")
        peer.send(messages.Hello(role="worker", worker="h", session=peer.session, versions=versions))
        refused, _ = peer.expect(messages.Refused)

    assert "runs Python 3.99" in refused.reason


def test_workers_that_came_before_the_plan_are_not_forgotten(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Worker(server.endpoint) as worker, Client(server.endpoint) as client:
        worker.hello()
        client.submit(chain("load"))
        assign, _ = worker.expect(messages.Assign)

    assert assign.step == "load"


def test_a_stopped_run_drains_and_says_so(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        client.send(messages.Control(session=client.session, action="stop", timeout=30))
        drain, _ = worker.expect(messages.Drain)
        worker.give(batch.lease, rows_of("load", 0))
        for other in worker.waiting(messages.Batch):
            worker.send(messages.Returned(session=worker.session, lease=other.lease))
        finished, _ = client.expect(messages.Finished)
        rows = client.fetch("load")

    assert drain.timeout == 30
    assert finished.outcome == "stopped"
    assert rows == rows_of("load", 0)


def test_a_client_that_is_gone_stops_the_run(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load", stop_timeout=20.0))
        worker.join()
        batch, _ = worker.batch()
        server.switchboard.call("client_gone")
        drain, _ = worker.expect(messages.Drain)
        for other in (batch, *worker.waiting(messages.Batch)):
            worker.send(messages.Returned(session=worker.session, lease=other.lease))
        assert server.thread is not None
        server.thread.join(60)
        ended = not server.thread.is_alive()

    assert drain.timeout == 20
    assert ended


def test_a_second_terminate_ends_the_run_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        worker.batch()
        server.switchboard.call("terminate")
        worker.expect(messages.Drain)
        server.switchboard.call("terminate")
        finished, _ = client.expect(messages.Finished)

    assert finished.outcome == "stopped"
    assert server.launcher.stopped


def test_a_supervisor_that_ends_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(chain("load", "keep"))
        server.launcher.ends.append(("host-1", -9))
        server.switchboard.call("child_ended")
        with Peer(server.endpoint, "supervisor", worker="host-2") as supervisor:
            supervisor.hello(capacity=2)

    assert server.launcher.started == [2, 2]


def test_supervisors_that_never_come_up_end_the_run(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(chain("load"))
        for death in range(1, 6):
            server.launcher.ends.append((f"host-{death}", 1))
            server.switchboard.call("child_ended")
            while len(server.launcher.started) <= death < 5:
                client.waiting(messages.Progress, 0.01)
        finished, _ = client.expect(messages.Finished)

    assert finished.outcome == "failed"
    assert finished.error is not None
    assert "supervisor ended again and again" in finished.error.message


def test_a_supervisor_is_told_when_fewer_step_processes_are_wanted(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(chain("load", "keep"))
        with Peer(server.endpoint, "supervisor") as supervisor, Worker(server.endpoint) as worker:
            supervisor.hello(capacity=2)
            worker.join()
            batch, _ = worker.batch()
            worker.give(batch.lease, rows_of("load", 0), last=True)
            slots, _ = supervisor.expect(messages.Slots)

    assert slots.count == 1


def test_a_routing_function_chooses_and_its_choice_is_recorded(tmp_path: Path) -> None:
    function = cloudpickle.dumps(lambda steps: [])
    route = RouteSpec(step="load", function=function)
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load", "keep", routes=[route]))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0), last=True)
        finished, _ = client.expect(messages.Finished)
        rows = client.fetch("keep")

    assert finished.outcome == "done"
    assert rows == []


def test_a_routing_function_that_raises_ends_the_run_with_its_error(tmp_path: Path) -> None:
    def choose(steps: list[str]) -> list[str]:
        raise LookupError("no way")

    route = RouteSpec(step="load", function=cloudpickle.dumps(choose))
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load", "keep", routes=[route]))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0))
        finished, _ = client.expect(messages.Finished)

    assert finished.outcome == "failed"
    assert finished.error is not None
    assert (finished.step, finished.error.type, finished.error.message) == ("load", "LookupError", "no way")


def test_answers_of_models_go_out_again_with_their_batch(tmp_path: Path) -> None:
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(chain("load", "ask"))
        workers = [Worker(server.endpoint) for _ in range(2)]
        assigned = {worker.join().step: worker for worker in workers}
        batch, _ = assigned["load"].batch()
        assigned["load"].give(batch.lease, rows_of("load", 0), last=True)
        asked, _ = assigned["ask"].batch()
        answered = messages.Answered(
            session=assigned["ask"].session, lease=asked.lease, row=3, key=b"hash", occurrence=0
        )
        assigned["ask"].send(answered, b"the answer")
        assigned["ask"].send(messages.Returned(session=assigned["ask"].session, lease=asked.lease))
        again, payload = assigned["ask"].expect(messages.Batch)
        for worker in workers:
            worker.connection.close()

    assert again.answers
    assert payload[1] == b"\x91\x94\x03\xc4\x04hash\x00\xc4\x0athe answer"


def test_a_bug_of_ours_is_told_to_the_client_logged_and_raised(tmp_path: Path) -> None:
    class Broken(RunMind):
        def handle(self, event: Event, now: float) -> list[Command]:
            if isinstance(event, BatchDone):
                raise AssertionError("an invariant does not hold")
            return super().handle(event, now)

    told: list[messages.Finished] = []

    with pytest.raises(AssertionError, match="an invariant does not hold"):
        _run_into_the_bug(tmp_path / "run", Broken, told)

    (finished,) = told
    assert finished.outcome == "failed"
    assert finished.error is not None
    assert (finished.error.type, finished.error.message) == ("AssertionError", "an invariant does not hold")
    assert '"event": "bug"' in (tmp_path / "run" / "pipeline.log").read_text()


def test_a_damaged_journal_ends_the_run_and_says_where(tmp_path: Path) -> None:
    plan = chain("load", "keep")
    with serving(tmp_path / "run") as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(plan)
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0))
        worker.expect(messages.Ack)
    segment = tmp_path / "run" / "segments" / "000001.seg"
    segment.write_bytes(bytes(segment.stat().st_size))

    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(plan)
        workers = [Worker(server.endpoint) for _ in range(2)]
        for worker in workers:
            worker.join()
        finished, _ = client.expect(messages.Finished)
        stopped = [worker.expect(messages.Stop)[0].now for worker in workers]
        for worker in workers:
            worker.connection.close()

    assert finished.outcome == "failed"
    assert finished.error is not None
    assert "batch 0 of step 'load'" in finished.error.message
    assert "a block of zeros" in finished.error.message
    assert stopped == [True, True]


def test_a_fetch_that_meets_a_damaged_record_ends_there(tmp_path: Path) -> None:
    _run_to_the_end(tmp_path / "run", batches=3)
    segment = tmp_path / "run" / "segments" / "000001.seg"
    content = bytearray(segment.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    segment.write_bytes(content)

    with serving(tmp_path / "run") as server, Client(server.endpoint) as client:
        client.submit(chain("load"))
        before, _ = client.expect(messages.Finished)
        client.send(messages.Fetch(session=client.session, step="load", credit=8))
        after, _ = client.expect(messages.Finished)
        rows = client.waiting(messages.Rows)

    assert (before.outcome, after.outcome) == ("done", "failed")
    assert after.error is not None
    assert "batch 1 of step 'load'" in after.error.message
    assert [(answer.rows, answer.last) for answer in rows] == [(5, False)]


def _run_into_the_bug(folder: Path, mind: type[RunMind], told: list[messages.Finished]) -> None:
    with (
        serving(folder, mind=mind) as server,
        Client(server.endpoint) as client,
        Worker(server.endpoint) as worker,
    ):
        client.submit(chain("load"))
        worker.join()
        batch, _ = worker.batch()
        worker.give(batch.lease, rows_of("load", 0))
        told.append(client.expect(messages.Finished)[0])


def _run_to_the_end(folder: Path, *, batches: int) -> None:
    with serving(folder) as server, Client(server.endpoint) as client, Worker(server.endpoint) as worker:
        client.submit(chain("load"))
        worker.join()
        for place in range(batches):
            batch, _ = worker.batch()
            worker.give(batch.lease, rows_of("load", place), last=place == batches - 1)
        client.expect(messages.Finished)


def _committed(folder: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(folder / "ledger.db")
    (count,) = connection.execute("SELECT count(*) FROM batch").fetchone()
    connection.close()
    return count

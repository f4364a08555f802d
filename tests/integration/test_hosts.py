"""Hosts that serve the runs of a broker: they come, go and die, and the rows are exact."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distilmq.pipeline import Pipeline
from distilmq.protocol import messages as m
from distilmq.protocol.plan import Plan
from distilmq.steps import LoadDataFromDicts, StepResources
from distilmq.transport.zeromq import listen
from distilmq_workers.loader import python_minor
from tests.broker.front.brokers import BrokerClient, Program, broker_in, worker_of
from tests.integration import hosted_steps as samples
from tests.integration.hosts import (
    PATIENCE,
    Host,
    Hosts,
    fetched,
    hosts_of,
    outcome,
    plan_of,
    reasons,
    shown,
    state_of,
    submit,
    until,
)

ROWS = 40
MISSING = "ModuleNotFoundError: No module named 'somewhere_else'"
EXPECTED = [{"n": number, "doubled": 2 * number} for number in range(ROWS)]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", options=["--liveness", "3"]) as started:
        yield started


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    with hosts_of(program, tmp_path) as started:
        yield started


def doubling(kind: type[samples.Double] = samples.Double, *, liveness: float = 3.0, **fields: Any) -> Plan:
    """A generator, and a step behind it that doubles each number."""
    with Pipeline("doubling") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(ROWS)], batch_size=5)
        load >> kind(name="double", input_batch_size=5, **fields)
    return plan_of(pipeline, liveness=liveness)


def gated(folder: Path, *, kind: type[samples.Gated] = samples.Gated, **fields: Any) -> Plan:
    """The same, held back until `gate` is there; `begun` says that the first batch is in hand."""
    return doubling(kind, gate=str(folder / "gate"), begun=str(folder / "begun"), **fields)


@pytest.mark.parametrize("tcp", [False, True], ids=["local", "with keys"])
def test_hosts_may_come_before_and_after_a_run(tmp_path: Path, *, tcp: bool) -> None:
    with broker_in(tmp_path / "broker", tcp=tcp) as program, hosts_of(program, tmp_path) as hosts:
        hosts.start("early", "--slots", "1")
        submit(program, "r", doubling())
        hosts.start("late", "--slots", "1")

        finished = outcome(program, "r")

        assert finished.outcome == "done"
        assert fetched(program, "r", "double") == EXPECTED


def test_a_worker_that_is_killed_and_started_again_under_its_name_has_its_place_again(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path / "broker", tcp=True, options=["--liveness", "1h"]) as program,
        hosts_of(program, tmp_path) as hosts,
    ):
        first = hosts.start("h", "--slots", "2")
        submit(program, "r", gated(tmp_path))
        until((tmp_path / "begun").exists)

        first.end()
        hosts.start("h", "--slots", "2")
        (tmp_path / "gate").touch()

        assert outcome(program, "r").outcome == "done"
        assert fetched(program, "r", "double") == EXPECTED


def test_one_slot_is_enough_for_a_run_of_two_steps(program: Program, hosts: Hosts) -> None:
    hosts.start("h", "--slots", "1")

    submit(program, "r", doubling())

    assert outcome(program, "r").outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED


def test_processes_end_with_their_run_and_the_host_stays(program: Program, hosts: Hosts) -> None:
    host = hosts.start("h", "--slots", "2")
    submit(program, "r", doubling())
    outcome(program, "r")

    until(lambda: not host.children() and state_of(program, "r").processes == 0)

    assert host.process.poll() is None


def test_a_killed_host_loses_no_row(program: Program, hosts: Hosts, tmp_path: Path) -> None:
    first = hosts.start("first", "--slots", "2")
    submit(program, "r", gated(tmp_path))
    until((tmp_path / "begun").exists)

    os.kill(first.process.pid, signal.SIGKILL)
    hosts.start("second", "--slots", "2")
    (tmp_path / "gate").touch()

    assert outcome(program, "r").outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED


def test_a_host_that_is_told_to_leave_finishes_what_it_has(program: Program, hosts: Hosts, tmp_path: Path) -> None:
    first = hosts.start("first", "--slots", "2")
    submit(program, "r", gated(tmp_path))
    until((tmp_path / "begun").exists)

    first.terminate()
    until(lambda: "finishing what is in hand" in first.said)
    (tmp_path / "gate").touch()
    code = first.wait()
    hosts.start("second", "--slots", "2")

    assert code == 0
    assert outcome(program, "r").outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED


def test_the_second_sigterm_ends_everything_at_once(program: Program, hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.start("h", "--slots", "2")
    submit(program, "r", gated(tmp_path))
    until((tmp_path / "begun").exists)
    children = host.children()

    host.terminate()
    until(lambda: "finishing what is in hand" in host.said)
    host.terminate()

    assert host.wait() == 0
    assert children
    until(lambda: not any(child.is_running() for child in children))


def test_a_process_sees_the_gpus_that_were_granted_to_it_and_no_others(program: Program, hosts: Hosts) -> None:
    hosts.start("h", "--slots", "4", "--gpus", "5,6,7", CUDA_VISIBLE_DEVICES="0,1")

    submit(program, "r", doubling(samples.Showing, resources=StepResources(replicas=2, gpus=1)))
    outcome(program, "r")
    rows = fetched(program, "r", "double")

    assert [row["doubled"] for row in rows] == [row["doubled"] for row in EXPECTED]
    assert {row["gpus"] for row in rows} <= {"5", "6"}


def test_a_step_runs_only_where_its_labels_and_resources_are(program: Program, hosts: Hosts) -> None:
    plain = hosts.start("plain", "--slots", "2")
    submit(program, "r", doubling(resources=StepResources(labels={"zone": "eu"}, resources={"license": 1})))
    needed = "needs a worker with the label zone=eu, and none has it"
    until(lambda: reasons(program, "r") == [needed])

    hosts.start("labelled", "--labels", "zone=eu", "--resources", "license=1", "--steps", "double")

    assert outcome(program, "r").outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED
    assert len(plain.children()) <= 2


def test_a_step_is_loaded_where_its_package_is(program: Program, hosts: Hosts, tmp_path: Path) -> None:
    bare = hosts.start("bare", "--slots", "2")
    hosts.start("equipped", "--slots", "2", HAS_IT="yes")

    submit(program, "r", gated(tmp_path, kind=samples.Needing, resources=StepResources(replicas=3)))
    refused = until(lambda: shown(program, "r").refusals)
    (tmp_path / "gate").touch()

    assert [(refusal.worker, refusal.step) for refusal in refused] == [("bare", "double")]
    assert refused[0].reason == f"{MISSING}; install it there, and start the worker again"
    assert f"step 'double' cannot run here: {MISSING}; install it here, and start the" in bare.said
    assert outcome(program, "r").outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED


def test_a_run_fails_when_no_worker_has_the_package(program: Program, hosts: Hosts, tmp_path: Path) -> None:
    hosts.start("bare", "--slots", "2")

    submit(program, "r", gated(tmp_path, kind=samples.Needing))
    finished = outcome(program, "r")

    assert (finished.outcome, finished.step, finished.loading) == ("failed", "double", True)
    assert finished.error is not None
    assert "somewhere_else" in finished.error.message
    assert "tried: bare" in finished.error.message


def test_a_worker_with_another_python_is_refused_and_shown(program: Program) -> None:
    submit(program, "r", doubling())

    with worker_of(program, "r", worker="old") as worker:
        worker.send(
            m.Hello(role="supervisor", worker="old", session="s", versions=m.Versions(distilmq="0", python="2.7"))
        )
        refused, _ = worker.expect(m.Refused)
    (refusal,) = until(lambda: shown(program, "r").refusals)

    assert refused.reason == f"this worker runs Python 2.7, the pipeline was submitted from {python_minor()}"
    assert (refusal.worker, refusal.step) == ("old", "")
    assert refusal.reason == f"{refused.reason}; {refused.fix}"


def test_a_host_without_work_leaves_when_its_time_is_over(program: Program, hosts: Hosts) -> None:
    host = hosts.start("h", "--idle-timeout", "1")

    assert host.wait() == 0
    assert "nothing to do for 1 s: leaving" in host.said


def test_a_worker_that_cannot_say_what_it_offers_is_told_what_is_wrong(program: Program, hosts: Hosts) -> None:
    host = hosts.start("h", "--labels", "zone")

    assert host.wait() == 1
    assert host.said.strip() == "--labels takes name=value, not 'zone'"


def test_another_version_of_the_protocol_is_refused_with_what_to_do(tmp_path: Path) -> None:
    listener = listen(f"ipc://{tmp_path}/b")
    host = Host(listener.endpoint, tmp_path / "out")
    listener.poll(PATIENCE)
    received = listener.receive()
    assert received is not None

    listener.send(received[0], [b"", b"\x02", b"whatever version 2 says"])

    assert host.wait() == 2
    assert "refused: the broker speaks version 02 of the protocol, this worker 01. Install" in host.said
    listener.close()


def test_a_host_that_is_handed_its_key_leaves_no_file_and_goes_with_who_started_it(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    with broker_in(tmp_path / "broker", tcp=True) as program:
        key = (program.folder / "keys" / "worker.json").read_text().replace("\n", " ")
        with hosts_of(program, tmp_path) as hosts:
            host = Host("-", tmp_path / "h.out", "--slots", "2", given=key, TMPDIR=str(folder))
            hosts.started.append(host)
            submit(program, "r", gated(tmp_path))
            until(lambda: (tmp_path / "begun").exists())
            (file,) = folder.glob("distilmq-worker-*/worker.json")
            mode = file.stat().st_mode & 0o777
            host.hang_up()

            assert host.wait() == 0
            assert mode == 0o600
            assert list(folder.glob("distilmq-worker-*")) == []
            assert "who started this worker is gone: leaving" in host.said
            hosts.start("other", "--slots", "2")
            (tmp_path / "gate").touch()
            assert outcome(program, "r").outcome == "done"
            assert fetched(program, "r", "double") == EXPECTED


def test_a_process_that_is_ended_in_the_middle_of_a_batch_leaves_no_folder(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    hosts.start("h", "--slots", "2", TMPDIR=str(folder))
    submit(program, "r", gated(tmp_path))
    until(lambda: (tmp_path / "begun").exists())
    assert list(folder.glob("distilmq-artifacts-*"))

    with BrokerClient(program) as client:
        client.control("r", "kill")

    until(lambda: not list(folder.iterdir()), "nothing is left while the host stays")

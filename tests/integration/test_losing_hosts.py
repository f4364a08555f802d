"""Hosts, brokers and links that are lost: the rows are exact, late results are used, and what can stay stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from distilmq.pipeline import Pipeline
from distilmq.pipeline.submitted_run import SubmittedRun
from distilmq.steps import LoadDataFromDicts, StepResources
from tests.broker.front.brokers import Program, alive, broker_in
from tests.integration import hosted_steps as samples
from tests.integration.hosts import Hosts, fetched, hosts_of, outcome, shown, state_of, submit, until
from tests.integration.test_hosts import EXPECTED, ROWS, gated
from tests.servers.link import Link

SECRET = "sk-of-a-client"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", options=["--liveness", "3"]) as started:
        yield started


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    with hosts_of(program, tmp_path) as started:
        yield started


def lost(program: Program, worker: str) -> bool:
    """Whether the broker has given a host up."""
    return any("host_lost" in line and f'"{worker}"' in line for line in program.log.splitlines())


def note_of(program: Program, run: str, step: str) -> str:
    """What is remarked of a step."""
    progress = shown(program, run).progress
    return "" if progress is None else next(one.note for one in progress.steps if one.step == step)


def processes_of(program: Program, run: str) -> dict[str, int]:
    """Step to how many processes it has."""
    counts: dict[str, int] = {}
    for worker in shown(program, run).workers:
        for step, count in worker.processes.items():
            counts[step] = counts.get(step, 0) + count
    return counts


def secretive(program: Program, folder: Path) -> SubmittedRun:
    """A run whose second step, of two processes, needs a secret that only its client knows."""
    with Pipeline("doubling") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(ROWS)], batch_size=5)
        load >> samples.Secretive(
            name="double",
            input_batch_size=5,
            key=SecretStr(SECRET),
            resources=StepResources(replicas=2),
            gate=str(folder / "gate"),
            begun=str(folder / "begun"),
        )
    return pipeline.submit(program.endpoint, use_cache=False)


def times_begun(folder: Path) -> list[int]:
    """The first number of each batch that was begun, in order."""
    return sorted(int(line) for line in (folder / "begun").read_text().splitlines())


def test_a_frozen_worker_that_comes_back_finds_its_work_done_by_another(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    first = hosts.start("first", "--slots", "2")
    submit(program, "r", gated(tmp_path))
    until((tmp_path / "begun").exists)
    frozen = [first.process.pid, *(child.pid for child in first.children())]

    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    hosts.start("second", "--slots", "2")
    until(lambda: lost(program, "first"))
    (tmp_path / "gate").touch()
    finished = outcome(program, "r")
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    until(lambda: not first.children())

    assert finished.outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED
    assert first.process.poll() is None


def test_a_result_that_comes_late_is_used(program: Program, hosts: Hosts, tmp_path: Path) -> None:
    only = hosts.start("only", "--slots", "2")
    submit(program, "r", gated(tmp_path))
    until((tmp_path / "begun").exists)
    frozen = [only.process.pid, *(child.pid for child in only.children())]

    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: lost(program, "only"))
    (tmp_path / "gate").touch()
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)

    assert outcome(program, "r").outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED
    assert times_begun(tmp_path) == [*range(0, ROWS, 5)]


def test_two_hosts_under_one_name_share_the_work_and_one_that_is_killed_is_followed_by_another(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    first = hosts.start("twin", "--slots", "1")
    until(lambda: "the broker knows this worker" in first.said)
    second = hosts.start("twin", "--slots", "1")
    submit(program, "r", gated(tmp_path))
    until((tmp_path / "begun").exists)
    log = program.folder / "runs" / "r" / "pipeline.log"
    until(lambda: all(f'"role": "worker", "worker": "twin{which}' in log.read_text() for which in ('"', "-")))

    first.end()
    hosts.start("twin", "--slots", "1")
    until(lambda: lost(program, "twin"))
    (tmp_path / "gate").touch()

    assert "another worker is called twin: this one goes by twin-" in second.said
    assert outcome(program, "r").outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED
    assert second.process.poll() is None


def test_a_process_whose_host_has_lost_its_name_to_another_is_killed_where_it_is(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    first = hosts.start("twin", "--slots", "2")
    submit(program, "r", gated(tmp_path, batch_timeout=6.0))
    until(lambda: (tmp_path / "begun").exists() and len(first.children()) == 1, "the generator has left")
    (process,) = first.children()
    frozen = [first.process.pid, process.pid]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    program.kill()
    second = hosts.start("twin", "--slots", "1", output="second")
    program.start_again()
    until(lambda: "the broker knows this worker" in second.said)
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)

    until(lambda: not alive(process), "it was at its batch for too long")
    (tmp_path / "gate").touch()

    assert "another worker is called twin: this one goes by twin-" in first.said
    assert outcome(program, "r").outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED
    assert "lists it no more" not in (program.folder / "runs" / "r" / "pipeline.log").read_text()


@pytest.mark.parametrize("tcp", [False, True], ids=["local", "with keys"])
def test_workers_outlive_their_broker_and_hand_in_what_they_did_meanwhile(tmp_path: Path, *, tcp: bool) -> None:
    with broker_in(tmp_path / "broker", tcp=tcp) as program, hosts_of(program, tmp_path) as hosts:
        host = hosts.start("h", "--slots", "2")
        submit(program, "r", gated(tmp_path))
        until(lambda: (tmp_path / "begun").exists() and len(host.children()) == 1, "the generator has left")
        before = [child.pid for child in host.children()]

        program.kill()
        (tmp_path / "gate").touch()
        program.start_again()
        until(lambda: shown(program, "r").workers or state_of(program, "r").state == "done")
        after = [child.pid for child in host.children()]

        assert outcome(program, "r").outcome == "done"
        assert fetched(program, "r", "double") == EXPECTED
        assert times_begun(tmp_path) == [*range(0, ROWS, 5)]
        assert set(after) <= set(before)
        assert host.process.poll() is None


def test_processes_that_have_a_secret_of_a_client_go_on_when_their_broker_is_started_again(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    host = hosts.start("h", "--slots", "3")
    run = secretive(program, tmp_path)
    until(lambda: (tmp_path / "begun").exists() and len(times_begun(tmp_path)) > 1)
    before = {child.pid for child in host.children()}

    program.kill()
    program.start_again()
    until(lambda: "new processes wait for a secret: key" in note_of(program, run.id, "double"))
    (tmp_path / "gate").touch()

    assert outcome(program, run.id).outcome == "done"
    rows = fetched(program, run.id, "double")
    assert [row["doubled"] for row in rows] == [2 * n for n in range(ROWS)]
    assert {row["pid"] for row in rows} <= before
    assert len({row["pid"] for row in rows}) == 2
    assert times_begun(tmp_path) == [*range(0, ROWS, 5)]


def test_a_process_that_dies_after_that_is_replaced_when_the_secret_has_come(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    host = hosts.start("h", "--slots", "3")
    run = secretive(program, tmp_path)
    until(lambda: (tmp_path / "begun").exists() and len(times_begun(tmp_path)) > 1)

    program.kill()
    program.start_again()
    until(lambda: "new processes wait for a secret: key" in note_of(program, run.id, "double"))
    for child in host.children():
        child.kill()
    until(lambda: note_of(program, run.id, "double").startswith("waits for a secret: key"))
    until(lambda: set(processes_of(program, run.id)) <= {"load"})
    run.give_secrets({"double": {"key": SECRET}})
    (tmp_path / "gate").touch()

    assert outcome(program, run.id).outcome == "done"
    assert [row["doubled"] for row in fetched(program, run.id, "double")] == [2 * n for n in range(ROWS)]


def test_processes_stay_at_work_when_only_the_supervisor_of_their_host_is_frozen(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    host = hosts.start("h", "--slots", "2")
    submit(program, "r", gated(tmp_path))
    until((tmp_path / "begun").exists)

    os.kill(host.process.pid, signal.SIGSTOP)
    until(lambda: lost(program, "h"))
    (tmp_path / "gate").touch()
    finished = outcome(program, "r")
    os.kill(host.process.pid, signal.SIGCONT)
    until(lambda: not host.children())

    assert finished.outcome == "done"
    assert fetched(program, "r", "double") == EXPECTED


def test_a_worker_leaves_when_its_broker_stays_away(tmp_path: Path) -> None:
    with broker_in(tmp_path / "broker", options=["--liveness", "1"]) as program, hosts_of(program, tmp_path) as hosts:
        waiting = hosts.start("waiting", "--on-broker-lost", "wait:1")
        leaving = hosts.start("leaving", "--on-broker-lost", "exit")
        until(lambda: all("the broker knows this worker" in host.said for host in hosts.started))

        program.kill()

        assert (waiting.wait(), leaving.wait()) == (3, 3)
        assert "going on, and waiting for it for 1 s" in waiting.said
        assert "going on" not in leaving.said


@contextmanager
def linked(tmp_path: Path, liveness: float = 3.0) -> Iterator[tuple[Program, Hosts, Link]]:
    """A broker on a port, and a link to it."""
    with (
        broker_in(tmp_path / "broker", tcp=True, options=["--liveness", f"{liveness:g}"]) as program,
        hosts_of(program, tmp_path) as hosts,
        Link(("127.0.0.1", int(program.endpoint.rpartition(":")[2]))) as link,
    ):
        yield program, hosts, link


# A beat may be a second old when the link is cut, and older on a busy machine: half of a short liveness is no time.
@pytest.mark.parametrize(
    ("liveness", "seconds"), [(8.0, 4.0), (2.0, 6.0)], ids=["half the liveness", "three times the liveness"]
)
def test_a_link_that_is_cut_for_a_while_costs_no_row(tmp_path: Path, liveness: float, seconds: float) -> None:
    with linked(tmp_path, liveness) as (program, hosts, link):
        host = hosts.start("far", "--slots", "2", over=link)
        submit(program, "r", gated(tmp_path, liveness=liveness))
        until((tmp_path / "begun").exists)

        link.cut(seconds)
        (tmp_path / "gate").touch()
        finished = outcome(program, "r")

        assert finished.outcome == "done"
        assert fetched(program, "r", "double") == EXPECTED
        assert lost(program, "far") is (seconds > liveness)
        assert host.process.poll() is None


def test_a_link_that_is_cut_past_the_end_of_a_run_leaves_nothing_behind(tmp_path: Path) -> None:
    with linked(tmp_path) as (program, hosts, link):
        far = hosts.start("far", "--slots", "2", over=link)
        submit(program, "r", gated(tmp_path))
        until((tmp_path / "begun").exists)

        link.cut()
        hosts.start("near", "--slots", "2")
        (tmp_path / "gate").touch()
        finished = outcome(program, "r")
        link.mend()
        until(lambda: not far.children())

        assert finished.outcome == "done"
        assert fetched(program, "r", "double") == EXPECTED
        assert far.process.poll() is None

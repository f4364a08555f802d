"""Hosts that serve the runs of a broker: they come, go and die, and the rows are exact."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distilmq.pipeline import Pipeline
from distilmq.protocol.plan import Plan
from distilmq.steps import LoadDataFromDicts
from tests.broker.front.brokers import Program, broker_in
from tests.integration import hosted_steps as samples
from tests.integration.hosts import Hosts, fetched, hosts_of, outcome, plan_of, state_of, submit, until

ROWS = 40
EXPECTED = [{"n": number, "doubled": 2 * number} for number in range(ROWS)]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker") as started:
        yield started


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    with hosts_of(program, tmp_path) as started:
        yield started


def doubling(kind: type[samples.Double] = samples.Double, **fields: Any) -> Plan:
    """A generator, and a step behind it that doubles each number."""
    with Pipeline("doubling") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(ROWS)], batch_size=5)
        load >> kind(name="double", input_batch_size=5, **fields)
    return plan_of(pipeline)


def gated(folder: Path, **fields: Any) -> Plan:
    """The same, held back until `gate` is there; `begun` says that the first batch is in hand."""
    return doubling(samples.Gated, gate=str(folder / "gate"), begun=str(folder / "begun"), **fields)


def test_hosts_may_come_before_and_after_a_run(program: Program, hosts: Hosts) -> None:
    hosts.start("early", "--slots", "1")
    submit(program, "r", doubling())
    hosts.start("late", "--slots", "1")

    finished = outcome(program, "r")

    assert finished.outcome == "done"
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

    until(lambda: not host.children())

    assert host.process.poll() is None
    assert state_of(program, "r").processes == 0


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
    assert len(children) == 2
    until(lambda: not any(child.is_running() for child in children))

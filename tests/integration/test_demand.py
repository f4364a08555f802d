"""What a broker tells those who start and stop hosts, and a host that is told to leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.pipeline import Pipeline
from distilmq.protocol.messages import Refused
from distilmq.protocol.messages.slots import Demand, DrainHost, HostDrained, ShowDemand
from distilmq.steps import LoadDataFromDicts, StepResources
from tests.broker.front.brokers import BrokerClient, Program, broker_in
from tests.integration import hosted_steps as samples
from tests.integration.hosts import Hosts, fetched, hosts_of, outcome, plan_of, submit, until


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


@pytest.fixture
def hosts(program: Program, tmp_path: Path) -> Iterator[Hosts]:
    with hosts_of(program, tmp_path) as started:
        yield started


def demand(program: Program) -> Demand:
    """What it tells now."""
    with BrokerClient(program) as client:
        answer = client.ask(ShowDemand(session=client.session))
    assert isinstance(answer, Demand)
    return answer


def test_a_client_is_told_what_runs_need_and_what_hosts_have_left(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    hosts.start("plain", "--slots", "2", "--labels", "zone=eu", "--resources", "license=2")
    with Pipeline("doubling") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(20)], batch_size=5)
        gated = samples.Gated(
            name="double",
            input_batch_size=5,
            gate=str(tmp_path / "gate"),
            begun=str(tmp_path / "begun"),
            resources=StepResources(resources={"license": 1, "special": 1}, replicas=2),
        )
        load >> gated
    submit(program, "r", plan_of(pipeline))
    until(lambda: any(shown.need.id == "double" and shown.need.work for shown in demand(program).needs))

    (need,) = [shown for shown in demand(program).needs if shown.need.id == "double"]
    (host,) = demand(program).hosts
    hosts.start("able", "--slots", "1", "--resources", "license=1,special=1")
    until(lambda: (tmp_path / "begun").exists())
    (able,) = [host for host in demand(program).hosts if host.worker == "able"]
    (tmp_path / "gate").touch()

    assert (need.run, need.processes, need.need.count) == ("r", 0, 2)
    assert need.need.resources == {"license": 1, "special": 1}
    assert (host.worker, host.offer.slots, host.offer.labels) == ("plain", 2, {"zone": "eu"})
    assert host.room.resources == {"license": 2}
    assert (able.processes, able.room.slots, able.room.resources) == (
        (("r", "double"),),
        0,
        {"license": 0, "special": 0},
    )
    assert outcome(program, "r").outcome == "done"
    assert [row["doubled"] for row in fetched(program, "r", "double")] == [2 * number for number in range(20)]


def test_a_host_that_is_drained_finishes_and_leaves_and_another_goes_on(
    program: Program, hosts: Hosts, tmp_path: Path
) -> None:
    first = hosts.start("first", "--slots", "2")
    with Pipeline("doubling") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(40)], batch_size=5)
        load >> samples.Gated(
            name="double", input_batch_size=5, gate=str(tmp_path / "gate"), begun=str(tmp_path / "begun")
        )
    submit(program, "r", plan_of(pipeline))
    until(lambda: (tmp_path / "begun").exists())

    with BrokerClient(program) as client:
        answers = [
            client.ask(DrainHost(session=client.session, worker=worker)) for worker in ("first", "first", "nobody")
        ]
    until(lambda: all(host.leaving for host in demand(program).hosts))
    hosts.start("second", "--slots", "2")
    (tmp_path / "gate").touch()

    assert answers == [HostDrained(worker=worker) for worker in ("first", "first", "nobody")]
    assert first.wait() == 0
    assert outcome(program, "r").outcome == "done"
    assert [row["doubled"] for row in fetched(program, "r", "double")] == [2 * number for number in range(40)]


@pytest.mark.parametrize(
    "message", [ShowDemand(session="s"), DrainHost(session="s", worker="h")], ids=["show", "drain"]
)
def test_the_key_of_a_worker_neither_shows_demand_nor_drains(program: Program, message: ShowDemand | DrainHost) -> None:
    with BrokerClient(program, "worker") as worker:
        answer = worker.ask(message)

    assert isinstance(answer, Refused)
    assert "a worker's key does not allow" in answer.reason

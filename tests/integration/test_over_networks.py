"""Runs over five machines with a slow and lossy network between them: whatever is cut, the rows are exact.

The broker is on one, workers on three, the client on the fifth. Each is a network namespace, and the switch between
them delays every frame by 50 ms and loses 2 % of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distilmq.protocol.plan import Plan
from tests.broker.front.brokers import Program, broker_in
from tests.integration import hosted_steps as samples
from tests.integration.hosts import Host, Hosts, fetched, hosts_of, state_of, submit, until
from tests.integration.test_hosts import EXPECTED, ROWS, doubling, gated
from tests.integration.test_losing_hosts import lost, times_begun
from tests.integration.test_submitting import EXPECTED as EXPECTED_OF_SCRIPT
from tests.integration.test_submitting import RUN, Away
from tests.network.machines import Machine, network_of

WORKERS = ["first", "second", "third"]
LIVENESS = 3.0
LENGTH = 6_000
"""Characters in a row: all rows take a second or more on this network."""
FETCH = """
import json, sys
from distilmq.pipeline import Pipeline

run = Pipeline.attach(sys.argv[1], sys.argv[2])
print(json.dumps(list(run.distiset()["default"]["train"])))
"""


@dataclass
class Site:
    """The machines, the broker, and the worker programs."""

    machines: dict[str, Machine]
    program: Program
    hosts: Hosts

    def start(self, name: str, *options: str) -> Host:
        """The worker program of a machine."""
        return self.hosts.start(name, "--slots", "2", *options, on=self.machines[name])

    def submit(self, plan: Plan) -> None:
        """Has the broker run it; the client's machine asks."""
        with self.machines["client"].entered():
            submit(self.program, "r", plan)

    def outcome(self) -> str:
        """How the run ends, as the client's machine hears; what was lost may be a long time on its way."""
        with self.machines["client"].entered():
            return until(lambda: {"done", "failed"} & {state_of(self.program, "r").state}).pop()

    def rows(self) -> list[dict[str, Any]]:
        """What the client's machine fetches."""
        with self.machines["client"].entered():
            return fetched(self.program, "r", "double")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        network_of(["broker", *WORKERS, "client"], delay=0.05, loss=0.02, seed=20) as machines,
        broker_in(tmp_path / "broker", on=machines["broker"], options=["--liveness", str(LIVENESS)]) as program,
        hosts_of(program, tmp_path) as hosts,
    ):
        yield Site(machines, program, hosts)


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A command, until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_script_runs_on_machines_far_away(site: Site, tmp_path: Path) -> None:
    for worker in WORKERS:
        site.start(worker)

    out = Away(tmp_path / "script", RUN).run(site.program, on=site.machines["client"])

    rows = [{name: row[name] for name in ("n", "doubled")} for row in json.loads(out)]
    assert rows == EXPECTED_OF_SCRIPT


@pytest.mark.parametrize("share", [0.5, 3.0], ids=["half the liveness", "three times the liveness"])
def test_a_machine_that_is_cut_off_for_a_while_hands_in_what_it_did_meanwhile(
    site: Site, tmp_path: Path, share: float
) -> None:
    # The others cannot do what it has, so what is not done again was used.
    site.start("second", "--steps", "load")
    site.start("third", "--steps", "load")
    cut_off = site.start("first", "--steps", "double")
    site.submit(gated(tmp_path))
    until((tmp_path / "begun").exists)

    site.machines["first"].cut(share * LIVENESS)
    (tmp_path / "gate").touch()
    if share > 1.0:
        until(lambda: lost(site.program, "first"))

    assert site.outcome() == "done"
    assert site.rows() == EXPECTED
    assert times_begun(tmp_path) == [*range(0, ROWS, 5)]
    assert cut_off.process.poll() is None


def test_a_machine_that_vanishes_leaves_its_work_to_others(site: Site, tmp_path: Path) -> None:
    vanishing = site.start("first")
    site.submit(gated(tmp_path))
    until((tmp_path / "begun").exists)
    processes = vanishing.children()

    site.machines["first"].cut(600.0)
    vanishing.end()
    for process in processes:
        process.kill()
    site.start("second")
    site.start("third")
    (tmp_path / "gate").touch()

    assert site.outcome() == "done"
    assert site.rows() == EXPECTED
    assert lost(site.program, "first")


def test_a_client_that_is_cut_off_while_it_fetches_goes_on(site: Site, tmp_path: Path) -> None:
    for worker in WORKERS:
        site.start(worker)
    client = site.machines["client"]
    site.submit(doubling(samples.Lengthy, length=LENGTH))
    assert site.outcome() == "done"
    target = str(site.program.folder / "keys" / "client.json")

    client.cut_after(ROWS * LENGTH // 4, LIVENESS)
    with running([*client.within, sys.executable, "-c", FETCH, "r", target]) as script:
        client.wait_for_cut()
        assert script.poll() is None
        out, err = script.communicate(timeout=90)

    assert script.returncode == 0, err
    assert json.loads(out) == [{**row, "text": samples.lengthy(row["n"], LENGTH)} for row in EXPECTED]

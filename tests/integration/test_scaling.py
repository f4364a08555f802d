"""An autoscaler as a program: batches that wait bring workers, idleness sends them away, and no row is lost."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from distilmq.pipeline import Pipeline
from distilmq.protocol.plan import Plan
from distilmq.steps import LoadDataFromDicts, StepResources
from tests.broker.front.brokers import Program, broker_in
from tests.integration import hosted_steps as samples
from tests.integration.hosts import alive, fetched, outcome, plan_of, state_of, submit, until
from tests.integration.launched import BIN, ENVIRONMENT, started, worker_key
from tests.integration.test_demand import demand
from tests.servers.slurm import INSTALLED, slurm_cluster
from tests.servers.ssh import SshServer

ROWS = 40
DOUBLED = [2 * number for number in range(ROWS)]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as running:
        yield running


@contextmanager
def scaler_of(
    program: Program, launcher: Sequence[str], output: Path, *options: str, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """`distilmq launch autoscale …` until the block ends."""
    keys = ["--broker", str(program.folder / "keys" / "client.json"), "--connect", worker_key(program)]
    command = [str(BIN / "distilmq"), "launch", "autoscale", *launcher, *keys, "--cooldown", "0", *options]
    with started([command], output, **environment) as (process,):
        yield process


def gated(folder: Path, replicas: int = 4) -> Plan:
    """Numbers are doubled once `gate` is there."""
    with Pipeline("doubling") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(ROWS)], batch_size=5)
        load >> samples.Gated(
            name="double",
            input_batch_size=5,
            gate=str(folder / "gate"),
            begun=str(folder / "begun"),
            resources=StepResources(replicas=replicas),
        )
    return plan_of(pipeline)


def workers(program: Program) -> list[str]:
    """Those that are there and stay."""
    return [host.worker for host in demand(program).hosts if not host.leaving]


def rows(program: Program, run: str) -> list[int]:
    """What came of a run."""
    # Workers may only be starting.
    until(lambda: state_of(program, run).state != "running")
    assert outcome(program, run).outcome == "done"
    return [row["doubled"] for row in fetched(program, run, "double")]


def test_batches_that_wait_bring_workers_up_to_the_most_and_idleness_sends_them_away(
    program: Program, tmp_path: Path
) -> None:
    output = tmp_path / "said"
    with scaler_of(program, ["local"], output, "--min", "1", "--max", "3", "--idle-timeout", "2") as scaler:
        until(lambda: len(workers(program)) == 1)
        submit(program, "r", gated(tmp_path))
        until(lambda: len(workers(program)) == 3)
        until(lambda: len((tmp_path / "begun").read_text().split()) >= 2)
        (tmp_path / "gate").touch()

        doubled = rows(program, "r")
        until(lambda: len(demand(program).hosts) == 1)
        children = psutil.Process(scaler.pid).children(recursive=True)
        scaler.send_signal(signal.SIGTERM)
        code = scaler.wait(60)

    assert doubled == DOUBLED
    assert code == 0
    assert children
    assert not any(alive(child) for child in children), "its workers end with it"
    assert output.read_text().count("launching auto-local-") == 3


def test_workers_go_with_a_scaler_that_is_killed_and_the_next_one_goes_on(program: Program, tmp_path: Path) -> None:
    submit(program, "r", gated(tmp_path))
    with scaler_of(program, ["local"], tmp_path / "first", "--max", "2") as scaler:
        until(lambda: (tmp_path / "begun").exists())
        children = psutil.Process(scaler.pid).children(recursive=True)
        scaler.kill()
        scaler.wait()
        until(lambda: not any(alive(child) for child in children))
    with scaler_of(program, ["local"], tmp_path / "second", "--max", "2"):
        (tmp_path / "gate").touch()
        doubled = rows(program, "r")

    assert doubled == DOUBLED


def test_a_worker_that_cannot_be_started_is_told_and_others_go_on(program: Program, tmp_path: Path) -> None:
    output = tmp_path / "said"
    with SshServer(tmp_path, "gpu-1", **ENVIRONMENT) as server:
        config = tmp_path / "config"
        config.write_text("Host gone\n HostName 127.0.0.1\n Port 1\n" + server.config())
        (tmp_path / "gate").touch()
        submit(program, "r", gated(tmp_path))
        # Two slots: one that is held by the generator for long would let the other step wait for its turn.
        options = ["--idle-timeout", "2", "--cpus", "2", "--ssh", f"ssh -F '{config}'"]
        with scaler_of(program, ["ssh", "gone", "gpu-1"], output, *options):
            doubled = rows(program, "r")
            until(lambda: not demand(program).hosts)
            until(lambda: not server.processes())

    assert doubled == DOUBLED


@pytest.mark.skipif(not INSTALLED, reason="slurm-wlm is not installed on this machine")
def test_jobs_of_slurm_come_and_go_by_what_runs_need(program: Program, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    with slurm_cluster() as slurm:
        submit(program, "r", gated(tmp_path, replicas=1))
        options = ["--idle-timeout", "2", "--memory", "100M", "--program", str(BIN / "distilmq")]
        sbatch = f"sbatch --chdir {tmp_path}"
        environment = {"SLURM_CONF": slurm.environment()["SLURM_CONF"]}
        with scaler_of(program, ["slurm"], tmp_path / "said", *options, "--sbatch", sbatch, **environment):
            doubled = rows(program, "r")
            until(lambda: not slurm.queue())
        ends = slurm.ends()

    assert doubled == DOUBLED
    assert set(ends) == {"COMPLETED 0:0"}

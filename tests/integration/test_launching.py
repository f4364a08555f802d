"""What `distilmq launch` prints is run as those run it who get it, and the workers compute a run of a real broker.

The script of an array job is run by bash with the variables that Slurm sets, and by Slurm where it is installed. The
arguments of a container are run by themselves, with its files where Kubernetes would have put them.
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from distilmq.transport.connection_file import read_connection, write_private
from distilmq_broker.launchers.cli import app
from tests.broker.front.brokers import Program, broker_in
from tests.integration.hosts import ROOT, until
from tests.integration.launched import BIN, ENVIRONMENT, computed, launch, leave, started, worker_key
from tests.servers.slurm import INSTALLED, slurm_cluster
from tests.servers.ssh import SshServer

DOUBLED = [2 * number for number in range(20)]
IMAGE = "registry.example.org/distilmq"
COMPOSE = Path(__file__).parents[2] / "deploy" / "images" / "compose.yaml"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as running:
        yield running


def test_the_tasks_of_an_array_job_of_slurm_join_and_compute(program: Program, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text(launch("slurm", "--connect", worker_key(program), "--count", "2", "--memory", "1G", "--print"))
    assert subprocess.run(["bash", "-n", script], check=True, capture_output=True).stderr == b""

    tasks = [["env", "SLURM_ARRAY_JOB_ID=7", f"SLURM_ARRAY_TASK_ID={task}", "bash", str(script)] for task in (1, 2)]
    with started(tasks, tmp_path / "said") as programs:
        until(lambda: program.log.count('"host_joined"') == 2)
        rows = computed(program)
        codes = leave(programs)

    assert rows == DOUBLED
    assert codes == [0, 0], "the signal reached the worker, and it left in order"
    assert set(re.findall(r"slurm-7-\d-\d", program.log)) == {"slurm-7-1-0", "slurm-7-2-0"}


@pytest.mark.skipif(not INSTALLED, reason="slurm-wlm is not installed on this machine")
def test_slurm_runs_the_script(program: Program, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    options = ["--memory", "100M", "--program", str(BIN / "distilmq"), "--print"]
    script.write_text(launch("slurm", "--connect", worker_key(program), *options, "--", "--idle-timeout", "1h"))

    with slurm_cluster() as slurm:
        slurm.run("sbatch", f"--export=ALL,PYTHONPATH={ROOT}", str(script), cwd=tmp_path)
        until(lambda: '"host_joined"' in program.log)
        rows = computed(program)
        slurm.run("scancel", "--batch", "--signal=TERM", "1")
        until(lambda: not slurm.queue())
        ends = slurm.ends()

    assert rows == DOUBLED
    assert ends == ["COMPLETED 0:0"]


def test_the_container_of_a_job_of_kubernetes_joins_and_computes(program: Program, tmp_path: Path) -> None:
    printed = launch("kubernetes", "--image", IMAGE, "--connect", worker_key(program), "--memory", "1G", "--print")
    secret, job = yaml.safe_load_all(printed)
    container = _container(job)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name, text in secret["stringData"].items():
        write_private(mounted / name, text)
    (mount,) = container["volumeMounts"]
    argv = _argv(container, {mount["mountPath"]: str(mounted), "$(POD_NAME)": "distilmq-worker-0-x7k2p"})

    with started([argv], tmp_path / "said") as programs:
        rows = computed(program)
        codes = leave(programs)

    assert rows == DOUBLED
    assert codes == [0]
    assert "distilmq-worker-0-x7k2p" in program.log


def test_the_container_of_a_broker_of_kubernetes_serves(tmp_path: Path) -> None:
    _, broker = yaml.safe_load_all(launch("kubernetes", "--image", IMAGE, "--broker", "--print"))
    container = _container(broker)
    (mount,) = container["volumeMounts"]
    environment = {
        item["name"]: item["value"].replace(mount["mountPath"], str(tmp_path / "disk")) for item in container["env"]
    }
    key = tmp_path / "disk" / "broker" / "keys" / "worker.json"

    with started([_argv(container, {"0.0.0.0:5555": "127.0.0.1:0"})], tmp_path / "said", **environment) as programs:
        until(lambda: "listens at" in (tmp_path / "said").read_text())
        probed = re.search(r"listens at tcp://127.0.0.1:(\d+)", (tmp_path / "said").read_text())
        assert probed is not None
        # As the readiness probe does.
        socket.create_connection(("127.0.0.1", int(probed[1])), timeout=10.0).close()
        codes = leave(programs)

    assert codes == [0]
    assert read_connection(key).endpoint == f"tcp://distilmq-broker.distilmq.svc:{probed[1]}"


def test_the_containers_of_the_compose_file_work_together(tmp_path: Path) -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    broker, worker = services["broker"], services["worker"]
    state = tmp_path / "state"
    places = {mount["target"]: mount["source"].replace("./state", str(state)) for mount in worker["volumes"]}
    environment = {**broker["environment"], "DISTILMQ_BROKER_DIR": str(state)}

    *serve, host = broker["command"]
    with started([_replaced([*serve, "127.0.0.1"], {"0.0.0.0:5555": "127.0.0.1:0"})], tmp_path / "said", **environment):
        until(lambda: "listens at" in (tmp_path / "said").read_text())
        with started([_replaced(worker["command"], places)], tmp_path / "worker"):
            until(lambda: '"host_joined"' in (state / "broker.log").read_text())

    assert host in services, "workers find it under the name of its service"
    assert broker["volumes"][0]["source"] == "./state"


def test_workers_are_started_over_ssh_and_leave_when_they_are_asked(program: Program, tmp_path: Path) -> None:
    with SshServer(tmp_path, "gpu-1", **ENVIRONMENT) as one, SshServer(tmp_path, "gpu-2", **ENVIRONMENT) as other:
        config = tmp_path / "config"
        config.write_text(one.config() + other.config())
        call = ["--ssh", f"ssh -F '{config}'"]
        connect = ["--connect", worker_key(program)]
        first = _ssh("gpu-1", "gpu-2", *call, *connect, "--", "--slots", "1")
        until(lambda: program.log.count('"host_joined"') == 2)
        rows = computed(program)
        again = _ssh("gpu-1", *call, *connect)
        stopped = _ssh("gpu-1", "gpu-2", *call, "--stop")
        until(lambda: program.log.count('"host_left"') == 2)
        until(lambda: not one.processes() and not other.processes())
        late = _ssh("gpu-1", *call, "--stop")

    assert (first.exit_code, first.stdout) == (0, "gpu-1: started\ngpu-2: started\n")
    assert rows == DOUBLED
    assert (again.exit_code, again.stdout) == (1, "gpu-1: a worker runs there already, and --stop ends it\n")
    assert (stopped.exit_code, stopped.stdout) == (0, "gpu-1: asked to leave\ngpu-2: asked to leave\n")
    assert (late.exit_code, late.stdout) == (1, "gpu-1: no worker runs there that was started so\n")
    assert (one.home / ".distilmq" / "worker.json").stat().st_mode & 0o777 == 0o600


def test_a_machine_that_cannot_be_used_is_named_with_what_to_do(program: Program, tmp_path: Path) -> None:
    with SshServer(tmp_path, "bare", PATH="/usr/bin:/bin") as server:
        config = tmp_path / "config"
        config.write_text(server.config() + "Host gone\n HostName 127.0.0.1\n Port 1\n")

        done = _ssh("bare", "gone", "--ssh", f"ssh -F '{config}'", "--connect", worker_key(program))

    bare, gone = done.stdout.splitlines()
    assert done.exit_code == 1
    assert bare == "bare: distilmq is not there: install it, or say with --program where it is"
    assert gone.startswith("gone: ssh: connect to host 127.0.0.1 port 1: Connection refused")
    assert not (server.home / ".distilmq" / "worker.json").exists()


def _ssh(*words: str) -> Result:
    return CliRunner().invoke(app, ["ssh", *words])


def _container(manifest: dict[str, Any]) -> dict[str, Any]:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return container


def _argv(container: dict[str, Any], places: dict[str, str]) -> list[str]:
    return _replaced([*container["command"], *container["args"]], places)


def _replaced(words: list[str], places: dict[str, str]) -> list[str]:
    """The words, with paths and addresses of a container as they are here."""
    for there, here in places.items():
        words = [word.replace(there, here) for word in words]
    return words

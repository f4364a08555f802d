"""Each command of the page about clusters is run: its files are what they should be, its workers join and leave."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.broker.front.brokers import Program, broker_in
from tests.docs.pages import read_page
from tests.integration.hosts import until
from tests.integration.launched import ENVIRONMENT, computed, leave, worker_key
from tests.integration.launched import started as launched
from tests.servers.ray import RayNodes, ray_cluster
from tests.servers.ssh import SshServer

PAGE = read_page("docs/how-to/clusters.md")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker", tcp=True) as started:
        yield started


@pytest.fixture
def folder(program: Program, tmp_path: Path) -> Path:
    """Where a reader runs the commands."""
    reader = tmp_path / "reader"
    reader.mkdir()
    shutil.copy(worker_key(program), reader)
    return reader


def commands(name: str) -> list[str]:
    """The lines of a block."""
    return [line.removeprefix("$ ") for line in PAGE.named("commands", name).code.splitlines()]


def run(line: str, folder: Path, *, path: str = "", **environment: str) -> str:
    """Runs one; what it printed."""
    environment = {**os.environ, **ENVIRONMENT, "PATH": f"{path}:{ENVIRONMENT['PATH']}", **environment}
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def ray() -> Iterator[RayNodes]:
    with ray_cluster() as nodes:
        yield nodes


def test_the_script_for_slurm_is_one_of_bash_and_names_the_key_by_its_whole_path(folder: Path) -> None:
    (line,) = commands("slurm")

    run(line, folder)

    script = folder / "workers.sh"
    subprocess.run(["bash", "-n", script], check=True)
    assert (
        f"exec distilmq worker --connect {folder / 'worker.json'} --slots 8 --memory 64G --name" in script.read_text()
    )


def test_the_files_for_kubernetes_hold_what_the_page_says(folder: Path) -> None:
    for line in commands("broker") + commands("kubernetes"):
        run(line, folder)

    kinds = {
        name: [manifest["kind"] for manifest in yaml.safe_load_all((folder / name).read_text())]
        for name in ("broker.yaml", "workers.yaml")
    }
    assert kinds == {"broker.yaml": ["Service", "StatefulSet"], "workers.yaml": ["Secret", "Job"]}


def test_workers_start_and_stop_over_ssh(program: Program, folder: Path, tmp_path: Path) -> None:
    with SshServer(tmp_path, "gpu-1", **ENVIRONMENT) as one, SshServer(tmp_path, "gpu-2", **ENVIRONMENT) as other:
        config, ssh = tmp_path / "config", tmp_path / "bin" / "ssh"
        config.write_text(one.config() + other.config())
        ssh.parent.mkdir()
        ssh.write_text(f"#!/bin/sh\nexec {shutil.which('ssh')} -F '{config}' \"$@\"\n")
        ssh.chmod(0o700)

        start, stop = commands("ssh")
        started = run(start, folder, path=str(ssh.parent))
        until(lambda: program.log.count('"host_joined"') == 2)
        stopped = run(stop, folder, path=str(ssh.parent))
        until(lambda: program.log.count('"host_left"') == 2)

    assert started == "gpu-1: started\ngpu-2: started\n"
    assert stopped == "gpu-1: asked to leave\ngpu-2: asked to leave\n"


@pytest.mark.timeout(400)
def test_ray_places_what_the_page_says(ray: RayNodes, program: Program, folder: Path) -> None:
    start, stop = commands("ray")
    script = folder / "script.py"
    script.write_text(PAGE.named("run", "ray").code)
    places = {"RAY_HEAD": ray.address, "DISTILMQ_CACHE_DIR": str(folder / "cache")}

    with ray.node(special=2):
        counted = run(f"{sys.executable} script.py", folder, **places)
        started = run(start, folder, **places)
        until(lambda: program.log.count('"host_joined"') == 2)
        stopped = run(stop, folder, **places)
        until(lambda: program.log.count('"host_left"') == 2)
        until(lambda: not ray.workers())

    assert counted == "100\n"
    assert re.fullmatch(r"(ray-\w{6}: started\n){2}", started)
    assert re.fullmatch(r"(ray-\w{6}: asked to leave\n){2}", stopped)


def test_the_autoscaler_brings_workers(program: Program, folder: Path, tmp_path: Path) -> None:
    shutil.copy(program.folder / "keys" / "client.json", folder)
    (line,) = commands("autoscale")

    with launched([["bash", "-c", f"cd {folder} && exec {line}"]], tmp_path / "said") as programs:
        rows = computed(program)
        codes = leave(programs)

    assert rows == [2 * number for number in range(20)]
    assert codes == [0]

"""Slurm on this machine, a cluster of one node: munged, slurmctld and slurmd of Debian's `slurm-wlm`."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.hosts import until

INSTALLED = all(map(shutil.which, ("munged", "slurmctld", "slurmd", "sbatch")))

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000
PartitionName=all Nodes={host} Default=YES State=UP
"""


@contextmanager
def slurm_cluster() -> Iterator[Slurm]:
    """Runs until the block ends, and its jobs no longer."""
    # In a folder of a short name: a socket lies in it.
    slurm = Slurm(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        slurm.start()
        yield slurm
        slurm.run("scancel", "--user", _user())
        until(lambda: not slurm.queue())
    finally:
        slurm.end()


class Slurm:
    """The daemons of a cluster, with all that is theirs in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts them, and waits until the node is there."""
        folder = self._folder
        for name in ("state", "spool"):
            (folder / name).mkdir()
        conf = _CONF.format(
            folder=folder, host=socket.gethostname(), user=_user(), ports=_free_ports(), cpus=os.cpu_count()
        )
        (folder / "slurm.conf").write_text(conf)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
        until((folder / "munge.socket").exists)
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D")
        until(lambda: "idle" in self.run("sinfo", "--noheader"))

    def end(self) -> None:
        """Ends them; nothing of theirs is left."""
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(30.0)
        shutil.rmtree(self._folder)

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, cwd=cwd, env=self.environment(), capture_output=True, text=True, check=False)
        return done.stdout

    def queue(self) -> str:
        """The jobs that wait or run."""
        return self.run("squeue", "--noheader")

    def ends(self) -> list[str]:
        """How each job that is over has ended: state and exit code."""
        words = self.run("scontrol", "--oneliner", "show", "job").split()
        states = [word.removeprefix("JobState=") for word in words if word.startswith("JobState=")]
        codes = [word.removeprefix("ExitCode=") for word in words if word.startswith("ExitCode=")]
        return [f"{state} {code}" for state, code in zip(states, codes, strict=True)]

    def _start(self, *command: str) -> None:
        with (self._folder / f"{command[0]}.out").open("wb") as file:
            self._daemons.append(subprocess.Popen(command, stdout=file, stderr=file, env=self.environment()))

    def environment(self) -> dict[str, str]:
        """With which commands find it."""
        return {**os.environ, "SLURM_CONF": str(self._folder / "slurm.conf")}


def _user() -> str:
    return subprocess.run(["id", "--user", "--name"], capture_output=True, text=True, check=True).stdout.strip()


def _free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], other.getsockname()[1]]

"""Starts supervisors on this machine: the same program that an operator starts by hand on another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


class ProcessLauncher:
    """See `ports.Launcher`. The coordinator's end of each supervisor's stdin is its life line."""

    def __init__(
        self,
        *,
        endpoint: str,
        output: Path,
        path: Sequence[str] = (),
        cwd: str = "",
        command: Sequence[str] = (sys.executable, "-P", "-m", "distilmq_workers"),
    ) -> None:
        self._endpoint = endpoint
        self._output = output
        self._cwd = cwd if cwd and Path(cwd).is_dir() else None
        self._environment = client_environment(path)
        self._command = tuple(command)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0

    def start(self, slots: int) -> str:
        """See `ports.Launcher`."""
        self._started += 1
        name = f"local-{os.getpid()}-{self._started}"
        with self._output.open("ab") as output:
            self._running[name] = subprocess.Popen(
                [*self._command, "--endpoint", self._endpoint, "--worker", name, "--slots", str(slots)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=self._cwd,
                env=self._environment,
                process_group=0,
            )
        return name

    def exited(self) -> Iterable[tuple[str, int]]:
        """See `ports.Launcher`."""
        ended = [(name, code) for name, process in self._running.items() if (code := process.poll()) is not None]
        for name, _ in ended:
            self._close(self._running.pop(name))
        return ended

    def stop(self, *, now: bool) -> None:
        """See `ports.Launcher`."""
        for process in self._running.values():
            if process.poll() is None:
                _signal_group(process.pid, signal.SIGKILL if now else signal.SIGTERM)
        if now:
            for process in self._running.values():
                process.wait()
                self._close(process)
            self._running.clear()

    @property
    def running(self) -> bool:
        """Whether a supervisor has not ended yet."""
        return any(process.poll() is None for process in self._running.values())

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()


def client_environment(path: Sequence[str]) -> dict[str, str]:
    """This environment, with the folders that the client's script imports from."""
    inherited = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    added = [entry for entry in path if entry and entry not in inherited]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*inherited, *added])}


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return

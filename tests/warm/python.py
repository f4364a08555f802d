"""Starts scripts from a Python that has loaded the heavy libraries already: half of the time of a short run is theirs.

A script that runs a pipeline is a process of its own all the same, with its own folder, environment, standard files,
session and end; only `datasets`, pandas and other libraries of others need not be loaded again. What they read of the
environment when they are loaded is therefore that of their `WarmPython`; a script that must differ in it, or have a
hash seed of its own, is started afresh.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

_PROGRAM = Path(__file__).with_name("program.py")
_READ_WHEN_LOADED = ("PYTHON", "HF_", "HUGGINGFACE_", "LD_", "OMP_", "OPENBLAS_", "ARROW_")
"""How names of variables begin that Python or a library reads once,"""
_READ_LATER = ("HF_TOKEN",)
"""and those of them that are read each time."""


class Files(NamedTuple):
    """Descriptors of the standard files of a script."""

    stdin: int
    stdout: int
    stderr: int


class WarmPython:
    """One process that becomes others.

    Args:
        environment: of the process; that of a script may differ in what is read later.
    """

    _running: ClassVar[list[WarmPython]] = []

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._fixed = _fixed(environment)
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), str(theirs.fileno())],
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._running.append(self)

    @classmethod
    def suiting(cls, environment: Mapping[str, str]) -> WarmPython | None:
        """The one, if any runs, from which a script with this environment has the libraries as it would load them."""
        fixed = _fixed(environment)
        return next((python for python in cls._running if python._fixed == fixed), None)

    def start(
        self, script: Path, environment: Mapping[str, str], files: Files, *, cwd: Path, on_terminal: bool = False
    ) -> WarmScript:
        """Starts a script in a session of its own.

        Args:
            script: its file.
            environment: all of it.
            files: where it reads and writes.
            cwd: its working directory.
            on_terminal: whether its standard input is a terminal, which becomes the one that controls it.
        """
        order = {
            "script": str(script),
            "cwd": str(cwd),
            "environment": dict(environment),
            "on_terminal": on_terminal,
        }
        told, tell = os.pipe()
        try:
            socket.send_fds(self._orders, [json.dumps(order).encode()], [*files, tell])
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tell)
        return WarmScript(script, told)

    def close(self) -> None:
        """Ends it; scripts that run are left alone."""
        self._running.remove(self)
        self._orders.close()
        self._process.wait()


@contextlib.contextmanager
def warm_python(environment: Mapping[str, str]) -> Iterator[WarmPython]:
    """One until the block ends."""
    python = WarmPython(environment)
    try:
        yield python
    finally:
        python.close()


class WarmScript:
    """A script that was started, with what is used of a `subprocess.Popen`."""

    def __init__(self, script: Path, told: int) -> None:
        self._script = script
        self._told = os.fdopen(told)
        self.returncode: int | None = None
        if not (line := self._told.readline()):
            self._told.close()
            raise RuntimeError("the warm Python has died; what it wrote last stands above")
        self.pid = int(line)

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, below zero the signal that ended it.

        Raises:
            subprocess.TimeoutExpired: it runs.
        """
        if self.returncode is None:
            ready, _, _ = select.select([self._told], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(str(self._script), timeout or 0.0)
            with self._told:
                self.returncode = int(self._told.readline())
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_WHEN_LOADED) and name not in _READ_LATER
    }

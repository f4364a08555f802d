"""The coordinators of submitted runs as processes: started by command line, let go by the end of their input."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from distilmq_broker.coordinator_process import JOURNAL
from distilmq_broker.front.folder import BrokerFolder

_TAIL = 4000
"""Bytes of a coordinator's last words that are told."""
_PATIENCE = 10.0
"""Seconds in which coordinators that were let go have committed and are gone."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A coordinator that is no more."""

    run: str
    code: int
    said: str

    @property
    def refusal(self) -> bool:
        """Whether it cannot begin, and another one could not either."""
        return self.code == JOURNAL

    @property
    def reason(self) -> str:
        """Why it ended."""
        how = f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        return f"{how}: {self.said}" if self.said else how


class Starter:
    """Starts coordinators, lets them go, and tells which have ended."""

    def __init__(
        self,
        folder: BrokerFolder,
        *,
        endpoint: str,
        command: Sequence[str] = (sys.executable, "-P", "-m", "distilmq_broker", "run"),
    ) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._command = tuple(command)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, run: str, *, read_only: bool) -> int:
        """Starts the coordinator of a run, which has none; returns its process id."""
        folder = self._folder.run(run)
        with (folder / "coordinator.err").open("wb") as errors:
            process = subprocess.Popen(
                [
                    *self._command,
                    *("--dir", str(folder), "--endpoint", self._endpoint, "--cache-dir", str(self._folder.path)),
                    "--broker",
                    *(("--read-only",) if read_only else ()),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        self._running[run] = process
        return process.pid

    def pid(self, run: str) -> int | None:
        """Of the coordinator of a run; None when there is none."""
        process = self._running.get(run)
        return None if process is None else process.pid

    def end(self, run: str) -> None:
        """Has a coordinator leave at once: what is recorded is durable."""
        process = self._running.get(run)
        if process is not None:
            _hang_up(process)

    def ended(self) -> list[Ended]:
        """Coordinators that ended since the last call; never blocks."""
        codes = {run: code for run, process in self._running.items() if (code := process.poll()) is not None}
        return [self._forget(run, code) for run, code in codes.items()]

    def close(self, patience: float = _PATIENCE) -> None:
        """Lets all go and waits; who does not leave is killed, which loses nothing that is recorded."""
        for process in self._running.values():
            _hang_up(process)
        deadline = time.monotonic() + patience
        for process in self._running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def _forget(self, run: str, code: int) -> Ended:
        _hang_up(self._running.pop(run))
        try:
            said = (self._folder.run(run) / "coordinator.err").read_bytes()[-_TAIL:].decode(errors="replace").strip()
        except FileNotFoundError:
            said = ""
        return Ended(run, code, said)


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()

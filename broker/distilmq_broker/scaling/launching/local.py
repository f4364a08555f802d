"""Workers as processes of this machine; they end with the scaler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping

from distilmq.protocol.messages.slots import Need
from distilmq_broker.scaling.core.kinds import Kind
from distilmq_broker.scaling.launching.flavor import Flavor

_PATIENCE = 60.0
"""Seconds in which workers that are let go finish what is in hand."""


class LocalWorkers:
    """See `ports.WorkerLauncher`.

    Args:
        flavor: of each.
        connection: the text of their connection file; it goes over their standard input, at whose end they leave.
    """

    def __init__(self, flavor: Flavor, connection: str) -> None:
        self._flavor = flavor
        self._line = " ".join(connection.split("\n")).strip().encode() + b"\n"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def kind_for(self, need: Need | None) -> Kind | None:
        """See `ports.WorkerLauncher`."""
        return self._flavor.kind_for(need)

    def start(self, name: str, kind: Kind) -> str:
        """See `ports.WorkerLauncher`."""
        _, *words = self._flavor.command("", "-").argv()
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "distilmq", *words, "--name", name],
                stdin=subprocess.PIPE,
                # The terminal's Ctrl+C is for the scaler, which lets them finish.
                start_new_session=True,
            )
        except OSError as error:
            return str(error)
        self._running[name] = process
        if process.stdin is not None:
            process.stdin.write(self._line)
            process.stdin.flush()
        return ""

    def ended(self, names: Iterable[str]) -> Mapping[str, str]:
        """See `ports.WorkerLauncher`."""
        codes = {name: code for name, process in self._running.items() if (code := process.poll()) is not None}
        for name in codes:
            _forget(self._running.pop(name))
        return {name: f"exit code {codes[name]}" for name in names if name in codes}

    def cancel(self, name: str) -> None:
        """See `ports.WorkerLauncher`."""
        if (process := self._running.get(name)) is not None:
            process.terminate()

    def close(self) -> None:
        """Has all finish what is in hand, and waits."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _forget(process)


def _forget(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()

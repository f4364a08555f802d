"""Each worker on a machine of its own, reached over SSH."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from distilmq.protocol.messages.slots import Need
from distilmq_broker.launchers.ssh import KEY_FILE, TAKEN, run_over_ssh, ssh_argv, start_script, stop_script
from distilmq_broker.scaling.core.kinds import Kind
from distilmq_broker.scaling.launching.flavor import Flavor


class SshWorkers:
    """See `ports.WorkerLauncher`. What becomes of a worker that was started, its machine tells nobody but the broker.

    Args:
        flavor: of each.
        machines: as SSH knows them.
        connect: their connection file, here.
        program: how distilmq is called there.
        call: how SSH is called.
    """

    def __init__(self, flavor: Flavor, machines: Sequence[str], connect: Path, *, program: str, call: str) -> None:
        self._flavor = flavor
        self._connect = connect
        self._program = program
        self._call = call
        self._machines = list(machines)
        """The one that was used longest ago comes first."""
        self._used: dict[str, str] = {}
        """Name to machine."""

    def kind_for(self, need: Need | None) -> Kind | None:
        """See `ports.WorkerLauncher`."""
        return self._flavor.kind_for(need)

    def start(self, name: str, kind: Kind) -> str:
        """See `ports.WorkerLauncher`; on the first machine that is free and can be reached."""
        script = start_script(self._flavor.command(self._program, KEY_FILE), name)
        reasons: list[str] = []
        for machine in list(self._machines):
            self._machines.remove(machine)
            self._machines.append(machine)
            said = run_over_ssh(ssh_argv(self._call, machine, script), self._connect)
            if not said:
                self._used[name] = machine
                return ""
            if not said.startswith(TAKEN):
                reasons.append(f"{machine}: {said}")
        return "; ".join(reasons) or "there is a worker on each of the machines"

    def ended(self, names: Iterable[str]) -> Mapping[str, str]:
        """See `ports.WorkerLauncher`."""
        return {}

    def cancel(self, name: str) -> None:
        """See `ports.WorkerLauncher`."""
        if (machine := self._used.pop(name, None)) is not None:
            run_over_ssh(ssh_argv(self._call, machine, stop_script()), None)

    def close(self) -> None:
        """Workers go on."""

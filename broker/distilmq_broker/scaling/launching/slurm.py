"""Each worker a job of Slurm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from distilmq.protocol.messages.slots import Need
from distilmq_broker.launchers.slurm import SlurmJob, slurm_script
from distilmq_broker.scaling.core.kinds import Kind
from distilmq_broker.scaling.launching.commands import CommandError, run
from distilmq_broker.scaling.launching.flavor import Flavor


class SlurmWorkers:
    """See `ports.WorkerLauncher`. Jobs that wait in Slurm's queue are waited for, however long.

    Args:
        flavor: of each.
        connect: their connection file; at the same path on the nodes.
        program: how distilmq is called there.
        time: how long each may run, as `sbatch --time` takes it; empty for what the partition allows.
        sbatch: how sbatch is called, with options such as a partition.
    """

    def __init__(
        self, flavor: Flavor, connect: str, *, program: str, time: str = "", sbatch: Sequence[str] = ("sbatch",)
    ) -> None:
        self._flavor = flavor
        self._connect = connect
        self._program = program
        self._time = time
        self._sbatch = tuple(sbatch)
        self._jobs: dict[str, str] = {}
        """Name to the number of its job."""

    def kind_for(self, need: Need | None) -> Kind | None:
        """See `ports.WorkerLauncher`."""
        return self._flavor.kind_for(need)

    def start(self, name: str, kind: Kind) -> str:
        """See `ports.WorkerLauncher`."""
        command = self._flavor.command(self._program, self._connect)
        script = slurm_script(SlurmJob(command, self._flavor.size, 1, self._time, name=name))
        try:
            self._jobs[name] = run([*self._sbatch, "--parsable"], script).strip().partition(";")[0]
        except CommandError as error:
            return str(error)
        return ""

    def ended(self, names: Iterable[str]) -> Mapping[str, str]:
        """See `ports.WorkerLauncher`."""
        asked = {name: self._jobs[name] for name in names if name in self._jobs}
        if not asked:
            return {}
        try:
            # All of ours: Slurm takes it amiss to be asked for a job that it has forgotten.
            listed = set(run(["squeue", "--noheader", "--me", "--format=%F"]).split())
        except CommandError:
            return {}
        gone = [name for name, job in asked.items() if job not in listed]
        for name in gone:
            del self._jobs[name]
        return {name: f"its job {asked[name]} is over; distilmq-worker-{asked[name]}_1.log says why" for name in gone}

    def cancel(self, name: str) -> None:
        """See `ports.WorkerLauncher`."""
        if (job := self._jobs.pop(name, None)) is not None:
            try:
                run(["scancel", job])
            except CommandError as error:
                print(f"job {job} of Slurm could not be cancelled: {error}")

    def close(self) -> None:
        """Jobs go on."""

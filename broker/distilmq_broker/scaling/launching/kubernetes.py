"""Each worker a Job of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from distilmq.protocol.messages.slots import Need
from distilmq_broker.launchers.kubernetes import WorkerJob, as_yaml, worker_manifests
from distilmq_broker.scaling.core.kinds import Kind
from distilmq_broker.scaling.launching.commands import CommandError, run
from distilmq_broker.scaling.launching.flavor import Flavor

_CONDITIONS = '{range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.status=="True")].type}{"\\n"}{end}'
"""A line for each Job: its name, and whether it is complete or has failed."""


class KubernetesWorkers:
    """See `ports.WorkerLauncher`. Pods that wait for a node are waited for, however long.

    Args:
        flavor: of each.
        job: what each is made like.
        kubectl: how kubectl is called.
    """

    def __init__(self, flavor: Flavor, job: WorkerJob, *, kubectl: Sequence[str] = ("kubectl",)) -> None:
        self._flavor = flavor
        self._job = job
        self._kubectl = [*kubectl, "--namespace", job.namespace]

    def kind_for(self, need: Need | None) -> Kind | None:
        """See `ports.WorkerLauncher`."""
        return self._flavor.kind_for(need)

    def start(self, name: str, kind: Kind) -> str:
        """See `ports.WorkerLauncher`."""
        try:
            run([*self._kubectl, "apply", "-f", "-"], as_yaml(worker_manifests(replace(self._job, name=name))))
        except CommandError as error:
            return str(error)
        return ""

    def ended(self, names: Iterable[str]) -> Mapping[str, str]:
        """See `ports.WorkerLauncher`."""
        asked = set(names)
        if not asked:
            return {}
        try:
            lines = run([*self._kubectl, "get", "jobs", f"--output=jsonpath={_CONDITIONS}"]).splitlines()
        except CommandError:
            return {}
        conditions = {name: set(words) for name, *words in map(str.split, filter(None, lines))}
        over = [name for name in asked if not {"Failed", "Complete"}.isdisjoint(conditions.get(name, {"Failed"}))]
        return {name: f"its Job is over: `kubectl logs job/{name}` says why" for name in sorted(over)}

    def cancel(self, name: str) -> None:
        """See `ports.WorkerLauncher`."""
        try:
            run([*self._kubectl, "delete", "job", name, "--ignore-not-found", "--wait=false"])
        except CommandError as error:
            print(f"Job {name} of Kubernetes could not be deleted: {error}")

    def close(self) -> None:
        """Jobs go on."""

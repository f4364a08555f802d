"""A broker and workers as objects of Kubernetes: https://kubernetes.io/docs/reference/kubernetes-api/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distilmq_broker.launchers.worker_command import Size, WorkerCommand

BROKER = "distilmq-broker"
WORKERS = "distilmq-worker"
PORT = 5555
CONNECTION = "/etc/distilmq/worker.json"
"""The connection file of a worker in its container."""

_KEYS, _, _KEY_FILE = CONNECTION.rpartition("/")
_DATA = "/var/lib/distilmq"
_USER = 10001
"""As in deploy/images/Dockerfile."""

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BrokerSet:
    """A broker with a disk of its own."""

    image: str
    namespace: str
    storage: str = "10Gi"


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """Workers of one size, and the key that they share."""

    command: WorkerCommand
    """With `CONNECTION`."""
    size: Size
    count: int
    image: str
    namespace: str
    connection: str
    """The text of the connection file."""
    grace: int = 300
    """Seconds in which a worker that has to go finishes what is in hand."""
    name: str = WORKERS
    """Of the Job."""
    kept: int | None = None
    """Seconds after which a Job that is over is removed; None to keep it."""


def broker_manifests(broker: BrokerSet) -> list[Manifest]:
    """A Service under whose name the broker is reached, and the StatefulSet that keeps it running."""
    container = {
        "name": "broker",
        "image": broker.image,
        "command": ["distilmq", "broker", "start"],
        "args": ["--bind", f"tcp://0.0.0.0:{PORT}", "--host", f"{BROKER}.{broker.namespace}.svc"],
        # A folder within the disk: the broker makes it, for itself only.
        "env": [{"name": "DISTILMQ_BROKER_DIR", "value": f"{_DATA}/broker"}],
        "ports": [{"name": "zeromq", "containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": "zeromq"}},
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": [{"name": "data", "mountPath": _DATA}],
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    service = {
        "selector": _labels(BROKER),
        "ports": [{"name": "zeromq", "port": PORT, "targetPort": "zeromq"}],
    }
    disk = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": broker.storage}}},
    }
    stateful_set = {
        "serviceName": BROKER,
        # Never more: a folder has one broker.
        "replicas": 1,
        "selector": {"matchLabels": _labels(BROKER)},
        "template": _template(BROKER, container),
        "volumeClaimTemplates": [disk],
    }
    return [
        _manifest("v1", "Service", BROKER, broker.namespace, spec=service),
        _manifest("apps/v1", "StatefulSet", BROKER, broker.namespace, spec=stateful_set),
    ]


def worker_manifests(job: WorkerJob) -> list[Manifest]:
    """A Secret with the connection file, and the Job whose pods are the workers."""
    program, *args = job.command.argv()
    container = {
        "name": "worker",
        "image": job.image,
        "command": [program],
        # Kubernetes puts the name of the pod in.
        "args": [*args, "--name", "$(POD_NAME)"],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": _resources(job.size),
        "volumeMounts": [{"name": "key", "mountPath": _KEYS, "readOnly": True}],
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": job.grace,
        # The group may read it: the file is root's, and the worker is not root.
        "volumes": [{"name": "key", "secret": {"secretName": WORKERS, "defaultMode": 0o440}}],
    }
    spec: Manifest = {
        "parallelism": job.count,
        "completions": job.count,
        "completionMode": "Indexed",
        "backoffLimit": 10 * job.count,
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": _template(WORKERS, container, pod),
    }
    if job.kept is not None:
        spec["ttlSecondsAfterFinished"] = job.kept
    return [
        _manifest("v1", "Secret", WORKERS, job.namespace, type="Opaque", stringData={_KEY_FILE: job.connection}),
        _manifest("batch/v1", "Job", job.name, job.namespace, label=WORKERS, spec=spec),
    ]


def as_yaml(manifests: Iterable[Manifest]) -> str:
    """What `kubectl apply -f -` takes."""
    import yaml  # 15 ms that the other commands need not wait for

    return yaml.safe_dump_all(manifests, sort_keys=False, explicit_start=True)


def _failure_rules() -> list[Manifest]:
    """A node that is taken away counts for nothing; a worker that the broker refuses will be refused again."""
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [2]}},
    ]


def _resources(size: Size) -> Manifest:
    requests, limits = {"cpu": str(size.cpus)}, dict[str, str]()
    if size.memory:
        # 64G of ours are powers of 1024, those of Kubernetes powers of 1000.
        requests["memory"] = limits["memory"] = f"{size.memory}i"
    if size.gpus:
        limits["nvidia.com/gpu"] = str(size.gpus)
    return {"requests": requests, "limits": limits}


def _template(name: str, container: Manifest, pod: Mapping[str, Any] | None = None) -> Manifest:
    spec = {
        # Kubernetes would tell it of services by variables of the prefix that is ours.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **(pod or {}),
        "containers": [container],
    }
    return {"metadata": {"labels": _labels(name)}, "spec": spec}


def _manifest(version: str, kind: str, name: str, namespace: str, *, label: str = "", **rest: Any) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": _labels(label or name)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}

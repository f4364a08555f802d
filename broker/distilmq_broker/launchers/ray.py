"""Workers as actors of Ray: it finds the node, the GPUs and the resources; batches stay on our own wire."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilmq.errors import DistilmqUserError
from distilmq_broker.launchers.ray_host import RayHost

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "distilmq"
"""Of Ray: where our actors have their names."""
_FOUND_WITHIN = 60.0
"""Seconds in which actors that Ray knows answer."""


@dataclass(frozen=True, slots=True)
class RayWorker:
    """What one worker asks of Ray, and what it is told of that."""

    name: str
    cpus: int | None = None
    """None for what Ray takes for an actor of which nothing is said: one to be placed, none while it runs."""
    gpus: int = 0
    memory: int = 0
    """Bytes."""
    resources: Mapping[str, int] = field(default_factory=dict[str, int])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the node."""
    options: tuple[str, ...] = ()
    """Of `distilmq worker`."""

    def asked_of_ray(self) -> dict[str, Any]:
        """As `ray.remote(…)` takes it."""
        asked: dict[str, Any] = {"num_gpus": self.gpus}
        if self.cpus is not None:
            asked["num_cpus"] = self.cpus
        if self.memory:
            asked["memory"] = self.memory
        if self.resources:
            asked["resources"] = dict(self.resources)
        if self.labels:
            asked["label_selector"] = dict(self.labels)
        return asked

    def worker_options(self) -> list[str]:
        """The worker sees the whole node, and has a share of it."""
        options = [] if self.gpus else ["--gpus=none"]
        options += [f"--memory={self.memory}"] if self.memory else []
        options += [f"--resources={name}={amount}" for name, amount in self.resources.items()]
        options += [f"--labels={name}={value}" for name, value in self.labels.items()]
        return [*options, *self.options]


class RayCluster:
    """A cluster that this process is connected to.

    Args:
        address: as `ray.init` takes it; None for what RAY_ADDRESS says, or a Ray of this machine.
        init: more of what `ray.init` takes.

    Raises:
        DistilmqUserError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str | None = None, init: Mapping[str, Any] | None = None) -> None:
        self._ray = _import_ray()
        options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "warning"}
        options |= {"address": address} if address is not None else {}
        try:
            self._ray.init(**{**options, **(init or {})})
        except (ConnectionError, RuntimeError, TypeError, ValueError) as error:
            raise DistilmqUserError(f"The Ray cluster{_at(address)} cannot be reached: {error}") from error

    def start(self, worker: RayWorker, connection: str, *, stays: bool) -> Any:
        """Has Ray place a worker, as soon as there is room.

        Args:
            worker: what it asks for.
            connection: the text of its connection file.
            stays: whether it goes on when this process ends, and is placed again when its node is lost.

        Returns:
            A handle of the actor.
        """
        options: dict[str, Any] = {"max_concurrency": 2, "max_restarts": 0, **worker.asked_of_ray()}
        if stays:
            options.update(lifetime="detached", max_restarts=-1, name=worker.name, namespace=NAMESPACE)
        actor = self._ray.remote(RayHost).options(**options)
        return actor.remote(connection, worker.worker_options(), worker.name, free=stays)

    def result(self, actor: Any) -> Any:
        """What becomes ready when the worker has ended."""
        return actor.ended.remote()

    def why_ended(self, result: Any) -> str | None:
        """Why a worker has ended; None while it has not."""
        ready, _ = self._ray.wait([result], timeout=0)
        if not ready:
            return None
        try:
            code, said = self._ray.get(result)
        except self._ray.exceptions.RayError as error:
            return _last_line(str(error))
        return f"exit code {code}: {_last_line(said)}"

    def kill(self, actor: Any) -> None:
        """Ends an actor, its worker, and all that runs there."""
        self._ray.kill(actor)

    def let_all_leave(self) -> list[str]:
        """Has workers that stay finish what is in hand, and leave; their names."""
        told: list[str] = []
        for name in self._staying():
            try:
                actor = self._ray.get_actor(name, namespace=NAMESPACE)
            except ValueError:
                continue  # it has just gone
            ready, _ = self._ray.wait([actor.leave.remote()], timeout=_FOUND_WITHIN)
            if not ready:
                # It was never placed, and has nothing in hand.
                self._ray.kill(actor)
            told.append(name)
        return told

    def address_of_this_machine(self) -> str:
        """Under which the nodes reach it."""
        return str(self._ray.util.get_node_ip_address())

    def close(self) -> None:
        """Hangs up; actors that do not stay are ended by Ray."""
        self._ray.shutdown()

    def _staying(self) -> Iterator[str]:
        yield from sorted(self._ray.util.list_named_actors())


def read_init(path: str | None) -> dict[str, Any]:
    """What `ray.init` takes, from a JSON file.

    Raises:
        DistilmqUserError: there is none.
    """
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise DistilmqUserError(f"--init takes a JSON file of what ray.init takes, not {path}: {error}") from None
    if not isinstance(found, dict):
        raise DistilmqUserError(f"--init takes a JSON file with an object, and {path} has none")
    return found  # pyright: ignore[reportUnknownVariableType]  # whatever the user says


def reached_at(connection: str, address: str) -> str:
    """The text of a connection file, with another address of the broker's machine."""
    values = json.loads(connection)
    port = str(values["endpoint"]).rpartition(":")[2]
    return json.dumps({**values, "endpoint": f"tcp://{address}:{port}"})


def _import_ray() -> Any:
    # Not to be waited for by whoever only prints: it takes a second. What it would report home is the user's affair.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
        importlib.import_module("ray.util")
    except ImportError as error:
        raise DistilmqUserError("Ray is not installed here: pip install 'distilmq[ray]'") from error
    return ray


def _at(address: str | None) -> str:
    return "" if address is None else f" at {address}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"

"""Ray on this machine: a cluster of as many nodes as a test wants, in a process of its own that takes orders.

It is at the machine's own address, or where there is none at 127.0.0.2: at 127.0.0.1 Ray's second node never starts.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_TRIES = 6
_STORE = 80_000_000
"""Bytes of a node's object store: nothing of ours lies in it."""

_ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    # The machine may be busy.
    "RAY_raylet_start_wait_time_s": "50",
    "RAY_worker_register_timeout_seconds": "200",
    "RAY_health_check_timeout_ms": "60000",
    # Only the processes of actors that are asked for.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}


@contextmanager
def ray_cluster() -> Iterator[RayNodes]:
    """A head of two CPUs until the block ends; then nothing of Ray is left."""
    # In a folder of a short name: sockets lie in it.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    with open(f"{folder}/said", "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.ray", folder],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
            env=_environment(),
        )
    try:
        yield RayNodes(process)
    except BaseException:
        print(Path(folder, "said").read_text()[-4000:])
        raise
    finally:
        if process.stdin is not None and process.stdout is not None:
            process.stdin.close()
            process.wait(60.0)
            process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


class RayNodes:
    """The cluster's nodes, by order."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._said()
        """As `ray.init` takes it."""

    @contextmanager
    def node(self, **resources: int) -> Iterator[str]:
        """Another node, with two CPUs, until the block ends; its id."""
        node = self._order("add", resources)
        try:
            yield node
        finally:
            self.kill(node)

    def kill(self, node: str) -> None:
        """A node is gone at once, with all that runs on it."""
        self._order("kill", node)

    def workers(self) -> dict[str, str]:
        """Our actors that live or wait for a place: their ids and states."""
        return self._order("workers")

    def _order(self, *words: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return self._said()

    def _said(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "Ray's cluster has ended"
        return json.loads(line)


def _environment() -> dict[str, str]:
    """Each of Ray's processes imports a thousand modules: all but the first of all clusters find them compiled."""
    environment = {**os.environ, **_ENVIRONMENT}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _serve(folder: str) -> None:
    importlib.import_module("ray.dashboard.agent")
    ray = importlib.import_module("ray")
    state = importlib.import_module("ray._private.state")
    own = ray.util.get_node_ip_address()
    where = {
        "node_ip_address": "127.0.0.2" if own.startswith("127.") else own,
        "object_store_memory": _STORE,
        "include_log_monitor": False,
    }
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    # On a machine that is busy a node dies young: its agent has 15 seconds to start, and no setting gives it more.
    cluster = _in_the_end(lambda: _head(folder, where))
    ray.init(cluster.address, namespace="test", log_to_driver=False)
    nodes: dict[str, Any] = {}

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    answer(cluster.address)
    for line in sys.stdin:
        match json.loads(line):
            case ["add", resources]:
                node = _in_the_end(lambda: cluster.add_node(num_cpus=2, resources=resources, **where))  # now
                nodes[node.node_id] = node
                answer(node.node_id)
            case ["kill", name]:
                if name in nodes:
                    cluster.remove_node(nodes.pop(name), allow_graceful=False)
                answer(None)
            case ["workers"]:
                ours = {name: actor for name, actor in state.actors().items() if actor["ActorClassName"] == "RayHost"}
                answer({name: actor["State"] for name, actor in ours.items() if actor["State"] != "DEAD"})
            case order:
                raise ValueError(order)
    ray.shutdown()
    cluster.shutdown()


def _head(folder: str, where: dict[str, Any]) -> Any:
    cluster = importlib.import_module("ray.cluster_utils").Cluster()
    # Ray's own test cluster writes its address where no Ray of this machine may ever have been.
    utils = importlib.import_module("ray._private.utils")
    Path(utils.get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
    cluster.add_node(num_cpus=2, include_dashboard=False, temp_dir=folder, no_monitor=True, **where)
    return cluster


def _in_the_end(start: Callable[[], Any]) -> Any:
    for _ in range(_TRIES - 1):
        try:
            return start()
        except Exception as error:  # noqa: BLE001  # Ray raises no narrower one
            print(error, file=sys.stderr)
    return start()


if __name__ == "__main__":
    _serve(sys.argv[1])

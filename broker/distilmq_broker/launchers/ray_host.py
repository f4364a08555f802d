"""The actor that Ray places: it starts a worker beside itself, and neither outlives the other.

Nodes import this module by its name, so that distilmq has to be installed there; it needs nothing of Ray but its actor.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

_TAIL = 4096
"""Bytes of what the worker wrote last that are told when it ends."""

NODE_ENV_NAME = "DISTILMQ_RAY_NODE"
"""Tells steps the id of the node that they run on."""


class RayHost:
    """One worker.

    Args:
        connection: the text of its connection file. It goes on over a pipe: the worker keeps it in a file that only
            its owner can read, for as long as it lives, and leaves at once when the pipe ends, as it does with us.
        options: of `distilmq worker`.
        name: what its name begins with; another life on another node is another worker.
        free: end with the worker, so that Ray has back what the actor takes; else whoever started it sees to that.
    """

    def __init__(self, connection: str, options: Sequence[str], name: str, *, free: bool) -> None:
        self._tail = bytearray()
        self._free = free
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "distilmq", "worker", "--connect", "-"),
                *(*options, "--name", f"{name}-{os.urandom(2).hex()}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, NODE_ENV_NAME: _node()},
            start_new_session=True,
        )
        if self._process.stdin is not None:
            self._process.stdin.write(" ".join(connection.split("\n")).strip().encode() + b"\n")
            self._process.stdin.flush()
        self._listener = threading.Thread(target=self._listen, name="distilmq-worker", daemon=True)
        self._listener.start()

    def ended(self) -> tuple[int, str]:
        """Waits for the worker's end: its exit code, and what it said last."""
        self._listener.join()
        return self._process.wait(), self._tail.decode(errors="replace").strip()

    def leave(self) -> None:
        """Has the worker finish what is in hand, and leave."""
        self._process.terminate()

    def _listen(self) -> None:
        output = self._process.stdout
        while output is not None and (written := os.read(output.fileno(), 65536)):
            self._tail = (self._tail + written)[-_TAIL:]
            with contextlib.suppress(OSError):
                sys.stderr.buffer.write(written)
                sys.stderr.buffer.flush()
        self._process.wait()
        if self._free:
            _end_actor()


def _node() -> str:
    ray: Any = importlib.import_module("ray")
    return str(ray.get_runtime_context().get_node_id())


def _end_actor() -> None:
    ray: Any = importlib.import_module("ray")
    # By its own handle: an actor that ends otherwise is started again.
    ray.kill(ray.get_runtime_context().current_actor)

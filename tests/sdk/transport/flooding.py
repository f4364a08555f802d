"""`flooding.py HOST PORT COUNT`: opens connections that say nothing, says so, and holds them until it is let go."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator

HALF_OPEN = 10_000
JOINS_WITHIN = 5.0
"""Seconds in which a worker with a key is welcome meanwhile."""


@contextlib.contextmanager
def flood(endpoint: str, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that opens connections to an endpoint and says nothing over them."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    command = [sys.executable, __file__, host, port, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flooding:
        try:
            yield flooding
        finally:
            flooding.kill()


def main() -> None:
    """Opens them one after the other; each is taken by the other end's kernel at the latest."""
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connections = [socket.create_connection((host, port), timeout=60) for _ in range(count)]
    print("open", flush=True)
    sys.stdin.read()
    for connection in connections:
        connection.close()


if __name__ == "__main__":
    main()

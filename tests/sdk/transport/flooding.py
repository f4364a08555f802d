"""`flooding.py HOST PORT COUNT`: opens connections that say nothing, says so, and holds them until it is let go."""

from __future__ import annotations

import resource
import socket
import sys


def main() -> None:
    """Opens them one after the other; each is taken by the other end's kernel at the latest."""
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connections = [socket.create_connection((host, port), timeout=30) for _ in range(count)]
    print("open", flush=True)
    sys.stdin.read()
    for connection in connections:
        connection.close()


if __name__ == "__main__":
    main()

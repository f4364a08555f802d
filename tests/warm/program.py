"""Python that has loaded the heavy libraries, and becomes one script after another: see `tests.warm.python`.

It is started with the descriptor of a socket on which orders come, each with four files: standard input, output and
error of the script, and where its process id and its exit code are to be told. For each it forks. The child goes back
to the top of this file and runs the script there, as `__main__`, so that an exception, `sys.exit` and Ctrl+C end it as
they end any program.
"""

from __future__ import annotations

import builtins
import fcntl
import gc
import importlib
import json
import os
import select
import socket
import sys
import termios
from types import CodeType, ModuleType
from typing import Any

LIBRARIES = ("datasets", "aiohttp", "cloudpickle", "msgpack", "pandas", "pydantic", "pyarrow", "yaml", "zmq")
"""Of others only: what our own packages import, and when, is for each script to find out."""
MOST_BYTES = 1 << 20
"""Of an order: it holds an environment."""


def serve(orders: socket.socket) -> dict[str, Any] | None:
    """Forks for each order until there can be no more.

    Returns:
        in a child, its order; None in the parent at its end.
    """
    lives: dict[int, tuple[int, int]] = {}
    """Of each process its id and where its exit code is told, by a descriptor that is readable when it has ended."""
    poll = select.poll()
    poll.register(orders, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in lives:
                poll.unregister(ready)
                _tell_end(ready, *lives.pop(ready))
                continue
            order, files, _, _ = socket.recv_fds(orders, MOST_BYTES, 4)
            if not order:
                return None
            pid = os.fork()
            if not pid:
                for kept in [orders.detach(), files.pop(), *lives, *(told for _, told in lives.values())]:
                    os.close(kept)
                _take(files)
                return json.loads(order)
            told = files.pop()
            os.write(told, f"{pid}\n".encode())
            for file in files:
                os.close(file)
            lives[life := os.pidfd_open(pid)] = (pid, told)
            poll.register(life, select.POLLIN)


def become(order: dict[str, Any]) -> tuple[CodeType, dict[str, Any]]:
    """Makes this process the one of a script; the code and the names of its main module."""
    os.setsid()
    if order["on_terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    path = order["script"]
    sys.argv[:] = [path]
    sys.path[0] = os.path.dirname(path)
    main = ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins)
    sys.modules["__main__"] = main
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec"), main.__dict__


def _take(files: list[int]) -> None:
    for place, file in enumerate(files):
        os.dup2(file, place)
        os.close(file)


def _tell_end(life: int, pid: int, told: int) -> None:
    _, status = os.waitpid(pid, 0)
    os.close(life)
    try:
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    except BrokenPipeError:  # nobody asks any more
        pass
    finally:
        os.close(told)


if __name__ == "__main__":
    for _library in LIBRARIES:
        importlib.import_module(_library)
    gc.collect()
    gc.freeze()
    _order = serve(socket.socket(fileno=int(sys.argv[1])))
    if _order is not None:
        exec(*become(_order))

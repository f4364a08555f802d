"""The command line of the worker program."""

from __future__ import annotations

import argparse
import os
import socket
import stat
import time
from collections.abc import Sequence

from distilmq_workers.children import Children
from distilmq_workers.lifeline import die_with_parent
from distilmq_workers.settings import SupervisorSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a supervisor; the result is its exit code."""
    settings = read_settings(arguments)
    if settings.lifeline is not None:
        die_with_parent(os.getppid())
    children = Children(endpoint=settings.endpoint, worker=settings.worker)
    # Before the imports below: what takes long to start starts first, and beside them.
    children.fill(settings.slots, now=time.monotonic())

    from distilmq.transport.zeromq import connect
    from distilmq_workers.supervisor import Supervisor

    return Supervisor(connect(settings.endpoint), settings, children).run()


def read_settings(arguments: Sequence[str] | None = None) -> SupervisorSettings:
    """Settings from the command line."""
    parser = argparse.ArgumentParser(prog="distilmq worker", description="Runs steps for a coordinator.")
    parser.add_argument("--endpoint", required=True, help="where the coordinator listens")
    parser.add_argument("--worker", default=f"{socket.gethostname()}-{os.getpid()}", help="a name for this host")
    parser.add_argument("--slots", type=int, default=1, help="how many step processes to keep")
    parser.add_argument(
        "--no-lifeline", action="store_true", help="stay when standard input, if it is a pipe, comes to its end"
    )
    options = parser.parse_args(arguments)
    lifeline = None if options.no_lifeline or not _is_pipe(0) else 0
    return SupervisorSettings(options.endpoint, options.worker, options.slots, lifeline)


def _is_pipe(file: int) -> bool:
    """Whether whoever started this holds the other end; a terminal or /dev/null has none."""
    try:
        mode = os.fstat(file).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

"""Putting a host together: the connection, the session, and the loop between them."""

from __future__ import annotations

import os
import socket
import sys
import time
from importlib.metadata import version

from distilmq.protocol.messages import Versions
from distilmq_workers.children import Children
from distilmq_workers.host.given_connection import given_connection
from distilmq_workers.host.service import HostService
from distilmq_workers.host.session import HostSession
from distilmq_workers.host.settings import HostSettings
from distilmq_workers.loader import python_minor
from distilmq_workers.reach import reach


def run_host(target: str, settings: HostSettings) -> int:
    """Serves the runs of a broker until it is told to leave; the result is the exit code.

    Args:
        target: see `reach`; `-` for the text of a connection file on the standard input, at whose end the host leaves.
        settings: of the host.

    Raises:
        DistilmqUserError: there is no connection file that can be used.
    """
    if target != "-":
        return _serve(target, settings, starter=None)
    with given_connection(0) as path:
        return _serve(path, settings, starter=0)


def _serve(target: str, settings: HostSettings, *, starter: int | None) -> int:
    connection = reach(target)
    offer = settings.offer
    gpus = f", GPUs {','.join(offer.gpus)}" if offer.gpus else ""
    print(f"Worker {settings.worker} with {offer.slots} slots{gpus} connects to {target}.", file=sys.stderr, flush=True)
    session = HostSession(
        settings,
        session=os.urandom(8).hex(),
        versions=Versions(distilmq=version("distilmq"), python=python_minor()),
        host=socket.gethostname(),
        pid=os.getpid(),
        new_child=lambda: os.urandom(8).hex(),
        now=time.monotonic(),
    )
    children = Children(endpoint=target, worker=settings.worker)
    return HostService(connection, session, children, starter=starter).run()

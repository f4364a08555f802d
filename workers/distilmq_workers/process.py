"""One step process: `python -m distilmq_workers.process`, started by a supervisor for one of its slots."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence

from distilmq.protocol.messages import Hello, Versions
from distilmq.transport.addressed import Addressed
from distilmq_workers.lanes import Lanes
from distilmq_workers.leaving import end_process, end_within
from distilmq_workers.lifeline import die_with_parent
from distilmq_workers.loader import python_minor
from distilmq_workers.outbox import Outbox
from distilmq_workers.reach import reach
from distilmq_workers.service import UNLOAD_PATIENCE, Service
from distilmq_workers.session import Session
from distilmq_workers.settings import RUN_TOKEN, ProcessSettings
from distilmq_workers.stalls import DeadManSwitch
from distilmq_workers.work import Work

CRASHED = 70
"""Exit code of a process whose own side failed: a bug of ours."""
_LINGER = 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until told to leave."""
    settings = read_settings(arguments)
    die_with_parent(settings.parent)
    faulthandler.enable()
    # What a step prints is there when the process dies a moment later.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    serve(settings, signals=take_signals())


def read_settings(arguments: Sequence[str] | None = None) -> ProcessSettings:
    """Settings from the command line."""
    parser = argparse.ArgumentParser(prog="distilmq_workers.process")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--worker", required=True)
    parser.add_argument("--session", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--stalls", type=int)
    parser.add_argument("--run", default="")
    parser.add_argument("--step", action="append", default=[])
    options = parser.parse_args(arguments)
    return ProcessSettings(
        endpoint=options.endpoint,
        worker=options.worker,
        session=options.session,
        parent=options.parent,
        run=options.run,
        token=os.environ.pop(RUN_TOKEN, ""),
        steps=tuple(options.step),
        stalls=options.stalls,
    )


def take_signals() -> int:
    """Has SIGINT ignored and SIGTERM written into a pipe; returns its readable end.

    The number is written by C code at once, also while the main thread is in the user's code.
    """
    # Ctrl+C reaches the whole terminal group; only the client decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def serve(settings: ProcessSettings, *, signals: int) -> None:
    """The socket gets a thread of its own; the main thread is the user's."""
    outbox, lanes = Outbox(), Lanes()
    work = Work(settings.session, outbox, lanes)
    thread = threading.Thread(
        target=_serve_socket, args=(settings, signals, outbox, lanes, work), name="distilmq-socket", daemon=True
    )
    thread.start()
    work.warm_up()
    lanes.serve()
    thread.join()
    end_process(0)


def _serve_socket(settings: ProcessSettings, signals: int, outbox: Outbox, lanes: Lanes, work: Work) -> None:
    """Ends the whole process when it fails: one that nobody hears would be of no use."""
    try:
        connection = reach(settings.endpoint, linger=_LINGER)

        def limit(size: int, part: int) -> None:
            connection.max_message = work.max_message = size
            work.max_part = part

        service = Service(
            Addressed(connection, settings.run, token=settings.token) if settings.run else connection,
            Session(_hello(settings), time.monotonic()),
            outbox=outbox,
            work=work,
            signals=signals,
            switch=DeadManSwitch(settings.stalls),
            limit=limit,
        )
        leave = service.run()
    except BaseException as error:  # noqa: BLE001  # shown, and then the process ends
        sys.excepthook(type(error), error, error.__traceback__)
        end_process(CRASHED, at_once=True)
    else:
        if not leave.unload:
            work.data.remove()
            end_process(0, at_once=True)
        end_within(UNLOAD_PATIENCE)
        lanes.call(work.unload)
        lanes.quit()


def _hello(settings: ProcessSettings) -> Hello:
    return Hello(
        role="worker",
        worker=settings.worker,
        session=settings.session,
        steps=settings.steps,
        versions=Versions(python=python_minor()),
        host=socket.gethostname(),
        pid=os.getpid(),
        parts=True,
    )


if __name__ == "__main__":
    main()

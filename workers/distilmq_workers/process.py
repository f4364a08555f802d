"""One step process: `python -m distilmq_workers.process`, started by a supervisor for one of its slots."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from distilmq.protocol.messages import LoadFailed, Versions
from distilmq.transport.zeromq import connect
from distilmq_workers.events import Begin, Loaded, LoadStep, Said
from distilmq_workers.lifeline import die_with_parent
from distilmq_workers.outbox import Outbox
from distilmq_workers.service import Quit, Service
from distilmq_workers.session import Session
from distilmq_workers.stalls import StallWatch


def versions() -> Versions:
    """What a coordinator checks before it sends anything that is unpickled."""
    return Versions(python=".".join(platform.python_version_tuple()[:2]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until told to leave."""
    parser = argparse.ArgumentParser(prog="distilmq_workers.process")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--worker", required=True)
    parser.add_argument("--session", required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    # Ctrl+C reaches the whole terminal group; only the client decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(options.endpoint, options.worker, options.session)


def _serve(endpoint: str, worker: str, name: str) -> None:
    outbox = Outbox()
    session = Session(worker=worker, session=name, host=socket.gethostname(), pid=os.getpid(), versions=versions())
    draining = threading.Event()
    service = Service(
        connect(endpoint),
        session,
        name=name,
        outbox=outbox,
        stop_asking=draining.set,
        stalls=StallWatch(name, threading.get_ident()),
    )
    thread = threading.Thread(target=_serve_or_die, args=(service,), name="distilmq-socket", daemon=True)
    thread.start()
    _work(service, name, outbox, draining)
    thread.join()


def _serve_or_die(service: Service) -> None:
    """A socket thread that ended would leave a process that nobody hears: it ends as a whole instead."""
    try:
        service.run()
    except BaseException as error:  # noqa: BLE001  # shown, and then the process ends
        sys.excepthook(type(error), error, error.__traceback__)
        os._exit(70)


def _work(service: Service, name: str, outbox: Outbox, draining: threading.Event) -> None:
    """The main thread: the user's code runs here, as many libraries demand."""
    # Imported while the hello is on its way.
    from distilmq_workers.failures import describe
    from distilmq_workers.notes import NoteHandler
    from distilmq_workers.runner import Runner

    notes = NoteHandler(name, outbox)
    log = logging.getLogger("distilmq")
    log.addHandler(notes)
    log.setLevel(os.environ.get("DISTILMQ_LOG_LEVEL", "INFO").upper())
    runner = Runner(name, outbox, draining)
    while True:
        match service.jobs.get():
            case LoadStep(assign=assign, definition=definition):
                notes.step = assign.step
                try:
                    runner.load(assign, definition)
                except BaseException as error:  # noqa: BLE001  # whatever the user's code raises is the answer
                    outbox.put(Said(LoadFailed(session=name, step=assign.step, error=describe(error))))
                else:
                    outbox.put(Loaded())
            case Begin(batch=batch, payload=payload):
                outbox.put(runner.work(batch, payload))
            case Quit():
                runner.unload()
                return


if __name__ == "__main__":
    main()

"""Putting a broker together: the lock, the sockets, the records, and the service between them."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import ExitStack

import zmq

from distilmq.errors import DistilmqUserError
from distilmq.transport import zeromq
from distilmq.transport.front import listen
from distilmq.transport.open_front import OpenFront
from distilmq.transport.ports import Front
from distilmq.transport.refusals import Refusals
from distilmq_broker.adapters.system_clock import SystemClock
from distilmq_broker.front.back import Back
from distilmq_broker.front.broker_lock import BrokerLock
from distilmq_broker.front.core.allocation import Allocation
from distilmq_broker.front.folder import BrokerFolder
from distilmq_broker.front.run_tokens import RunTokens
from distilmq_broker.front.service import SETTLING, BrokerService
from distilmq_broker.front.settings import FrontSettings
from distilmq_broker.front.starter import Starter
from distilmq_broker.keys.handing_out import hand_out_first
from distilmq_broker.keys.store import KeyStore
from distilmq_broker.lifeline import Lifeline
from distilmq_broker.logbook import Logbook, open_logbook
from distilmq_broker.settings import MAX_MESSAGE


def run_broker(settings: FrontSettings) -> None:
    """Serves until SIGTERM or Ctrl+C.

    Raises:
        DistilmqUserError: the folder cannot be used, or another broker has it, or the port is taken.
    """
    os.umask(0o077)
    folder = BrokerFolder(settings.folder)
    folder.make()
    with ExitStack() as stack:
        lifeline = Lifeline(0 if settings.tied else None, interrupt=True)
        stack.callback(lifeline.close)
        lock = BrokerLock(folder.path)
        stack.callback(lock.release)
        log = open_logbook(folder.log_file)
        stack.callback(log.close)
        epoch = folder.next_epoch()
        log.bind(epoch=epoch)
        _raise_file_limit()
        back = Back(zeromq.listen(folder.back()))
        stack.callback(back.close)
        starter = Starter(folder, endpoint=back.endpoint)
        refusals = Refusals(
            lambda reason, count, detail: log.warning("turned_away", reason=reason, count=count, detail=detail)
        )
        front = _front(settings, refusals, log)
        stack.callback(front.close)
        # Before the sockets: what coordinators still say while they leave is of no use to anybody.
        stack.callback(starter.close)
        lock.describe(front.endpoint)
        service = BrokerService(
            epoch=epoch,
            folder=folder,
            front=front,
            back=back,
            starter=starter,
            allocation=Allocation(
                liveness=settings.liveness, settling=SETTLING if epoch > 1 else 0.0, name=f"{epoch}."
            ),
            liveness=settings.liveness,
            clock=SystemClock(),
            calls=lifeline,
            refusals=refusals,
            tokens=_tokens(settings),
            log=log,
        )
        log.info("broker_started", pid=os.getpid(), endpoint=front.endpoint, python=sys.version.split()[0])
        print(f"The broker listens at {front.endpoint}; its folder is {folder.path}.", flush=True)
        if not settings.endpoint.startswith("ipc://"):
            keys = folder.path / "keys"
            print(f"Clients connect with {keys}/client.json, workers with {keys}/worker.json.", flush=True)
        service.serve()
        log.info("broker_ended")


def _front(settings: FrontSettings, refusals: Refusals, log: Logbook) -> Front:
    if not settings.endpoint.startswith("ipc://"):
        return _guarded_front(settings, refusals, log)
    try:
        return OpenFront(zeromq.listen(settings.endpoint, max_message=MAX_MESSAGE))
    except zmq.ZMQError as error:
        raise DistilmqUserError(f"Cannot listen at {settings.endpoint}: {zmq.strerror(error.errno or 0)}") from error


def _tokens(settings: FrontSettings) -> RunTokens:
    guarded = not settings.endpoint.startswith("ipc://")
    return RunTokens(KeyStore(settings.folder).server().secret if guarded else None)


def _guarded_front(settings: FrontSettings, refusals: Refusals, log: Logbook) -> Front:
    store = KeyStore(settings.folder, tell=lambda problem: log.error("keys_unreadable", reason=problem))
    store.entries()  # a list that cannot be read ends the start, and not the broker later
    front = listen(
        settings.endpoint, keys=store.server(), allowed=store.allowed, max_message=MAX_MESSAGE, refusals=refusals
    )
    try:
        files = hand_out_first(store, front.endpoint, host=settings.host)
    except DistilmqUserError:
        front.close()
        raise
    for role, path in files.items():
        print(f"Connection file for {role}s: {path}")
    return front


def _raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

"""Putting a coordinator together: the lock, the journal, the socket, and the service between them."""

from __future__ import annotations

import gc
import os
import resource
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distilmq.errors import JournalError
from distilmq.protocol.codec import FROM_PEER
from distilmq.protocol.messages import Note
from distilmq.protocol.plan import Plan
from distilmq.transport.open_front import OpenFront
from distilmq.transport.ports import Front
from distilmq.transport.zeromq import connect, listen
from distilmq_broker.adapters.process_launcher import ProcessLauncher
from distilmq_broker.adapters.processes import adopt_orphans, end_descendants
from distilmq_broker.adapters.repair import repair
from distilmq_broker.adapters.routing_process import RoutingProcess
from distilmq_broker.adapters.run_lock import RunLock, RunLockedError, await_lock
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.adapters.system_clock import SystemClock
from distilmq_broker.adoption import Adoption
from distilmq_broker.granted_slots import GrantedSlots
from distilmq_broker.lifeline import Lifeline
from distilmq_broker.logbook import Logbook, open_logbook
from distilmq_broker.mind import RunMind
from distilmq_broker.ports import Slots
from distilmq_broker.post import Post
from distilmq_broker.reception import Sayable
from distilmq_broker.run_folder import RunFolder
from distilmq_broker.service import Service
from distilmq_broker.settings import BrokerSettings
from distilmq_broker.slots import SlotKeeper

if TYPE_CHECKING:
    from distilmq_broker.submitted import Submitted

_ALLOCATIONS_APART = 10_000
DONE, BUG, LOCKED, JOURNAL = 0, 1, 3, 4
"""Exit codes: closed by the client; a bug of ours; another coordinator has the run; the journal cannot be used."""


def run_coordinator(settings: BrokerSettings) -> int:
    """Serves one run; the result is the exit code."""
    os.umask(0o077)
    try:
        return _run(settings)
    except RunLockedError as error:
        print(error, file=sys.stderr)
        return LOCKED
    except JournalError as error:
        print(error, file=sys.stderr)
        return JOURNAL


def _run(settings: BrokerSettings) -> int:
    folder = RunFolder(settings.folder)
    folder.make()
    with ExitStack() as stack:
        lifeline = Lifeline(0 if settings.lifeline else None)
        lock = await_lock(settings.folder, lifeline.cut_within)
        stack.callback(lock.release)
        log = open_logbook(folder.log_file, run=settings.run)
        stack.callback(log.close)
        clock = SystemClock()
        journal = _journal(settings, folder, clock)
        stack.callback(journal.close)
        lock.describe(epoch=journal.epoch, endpoint=settings.endpoint)
        log.bind(epoch=journal.epoch)
        repaired = repair(journal)
        if repaired is not None:
            log.warning("journal_repaired", damage=repaired.damage, damaged=repaired.damaged, dropped=repaired.dropped)
        _raise_file_limit()
        adopt_orphans()
        stack.callback(end_descendants)
        gate = _gate(settings, epoch=journal.epoch, log=log)
        stack.callback(gate.front.close)
        service = _service(settings, folder, gate, journal=journal, clock=clock, lifeline=lifeline, lock=lock, log=log)
        log.info("coordinator_started", pid=os.getpid(), endpoint=settings.endpoint, python=sys.version.split()[0])
        _spare_collector()
        try:
            service.serve()
        finally:
            service.close()
        log.info("coordinator_ended")
    return DONE


def _journal(settings: BrokerSettings, folder: RunFolder, clock: SystemClock) -> SqliteJournal:
    stored = folder.stored_plan()
    return SqliteJournal(
        settings.folder,
        clock=clock,
        endpoint=settings.endpoint,
        power=stored is not None and stored.settings.durability == "power",
        rotate_at=settings.rotate_at,
        checkpoint_after=settings.checkpoint_after,
        crash=settings.crash,
    )


def _service(
    settings: BrokerSettings,
    folder: RunFolder,
    gate: _Gate,
    *,
    journal: SqliteJournal,
    clock: SystemClock,
    lifeline: Lifeline,
    lock: RunLock,
    log: Logbook,
) -> Service:
    adoption = Adoption(journal, cache_dir=settings.cache_dir, log=log)

    def prepare(plan: Plan) -> list[Note]:
        journal.set_power(plan.settings.durability == "power")
        return adoption.prepare(plan)

    def slots(plan: Plan, post: Post) -> Slots:
        if gate.submitted is not None:
            return GrantedSlots(gate.submitted)
        launcher = ProcessLauncher(
            endpoint=settings.endpoint, output=folder.workers_log, path=plan.client_path, cwd=plan.client_cwd
        )
        return SlotKeeper(launcher, post, log)

    return Service(
        run_id=settings.run,
        folder=folder,
        front=gate.front,
        journal=journal,
        clock=clock,
        calls=lifeline,
        make_mind=lambda plan: RunMind(
            plan, epoch=journal.epoch, run=settings.run, many_hosts=settings.broker, lends=not settings.broker
        ),
        make_slots=slots,
        make_router=lambda plan: RoutingProcess(
            plan.routes, output=folder.workers_log, path=plan.client_path, cwd=plan.client_cwd
        ),
        prepare=prepare,
        crash=settings.crash,
        log=log,
        client_gone=lock.leave,
        submitted=gate.submitted,
        sayable=gate.sayable,
        max_part=settings.max_part,
    )


@dataclass(frozen=True, slots=True)
class _Gate:
    """Where peers come from."""

    front: Front
    submitted: Submitted | None = None
    """The line to the broker that has started us, if one has."""
    sayable: Sayable | None = None


def _gate(settings: BrokerSettings, *, epoch: int, log: Logbook) -> _Gate:
    """A socket of our own, or the broker that has started us."""
    if not settings.broker:
        return _Gate(OpenFront(listen(settings.endpoint)))
    # Here, not above: a run on one machine needs none of it.
    from distilmq.protocol.broker_codec import FROM_CLIENT, FROM_WORKER
    from distilmq_broker.adapters.brokered_front import BrokeredFront
    from distilmq_broker.submitted import Submitted

    front = BrokeredFront(connect(settings.endpoint), endpoint=settings.endpoint)
    submitted = Submitted(
        front,
        run=settings.run,
        epoch=epoch,
        pid=os.getpid(),
        read_only=settings.read_only,
        linger=settings.linger,
        log=log,
    )
    return _Gate(front, submitted, {"any": FROM_PEER, "client": FROM_CLIENT, "worker": FROM_WORKER})


def _spare_collector() -> None:
    """Keeps what was imported out of each search for cycles: that took a fifth of the coordinator's time."""
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_APART)


def _raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

"""Carrying out what the core commands: the only place where a decision becomes an effect."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from distilmq.errors import JournalError
from distilmq.protocol import messages
from distilmq.protocol.messages import Lease
from distilmq.protocol.plan import Plan
from distilmq_broker.batch_post import BatchPost
from distilmq_broker.burying import buried_row
from distilmq_broker.core.commands import (
    Command,
    EndRun,
    KeepPart,
    KeepSlots,
    KillWorker,
    Record,
    RefuseHost,
    Route,
    SayDeparted,
    SayPaused,
    Send,
    SendAssign,
    SendBatch,
    SendPart,
)
from distilmq_broker.core.facts import BatchRecorded, LimitLearnt, RowsBuried
from distilmq_broker.crash_points import CrashPoints
from distilmq_broker.group_commit import GroupCommit
from distilmq_broker.incoming import IncomingResults, ResultBytes
from distilmq_broker.logbook import Logbook
from distilmq_broker.passing import Passing
from distilmq_broker.ports import Journal, LargePayload, Router, Slots
from distilmq_broker.post import Post
from distilmq_broker.secret_book import SecretBook
from distilmq_broker.sessions import Sessions
from distilmq_broker.settings import MAX_PART


class Performer:
    """Knows every neighbour of the core."""

    def __init__(
        self,
        plan: Plan,
        *,
        artifacts: Path | None,
        secrets: SecretBook,
        journal: Journal,
        group: GroupCommit,
        router: Router,
        slots: Slots,
        sessions: Sessions,
        post: Post,
        crash: CrashPoints,
        log: Logbook,
        incoming: IncomingResults,
        passing: Passing,
        max_part: int = MAX_PART,
    ) -> None:
        self._incoming = incoming
        self._passing = passing
        self._steps = {step.name: step for step in plan.steps}
        self._pipeline = plan.pipeline
        self._python = plan.python
        self._artifacts = artifacts
        self._secrets = secrets
        self._journal = journal
        self._group = group
        self._router = router
        self._slots = slots
        self._sessions = sessions
        self._post = post
        self._crash = crash
        self._log = log
        self._batches = BatchPost(
            journal=journal, sessions=sessions, post=post, crash=crash, log=log, passing=passing, max_part=max_part
        )
        self._held: dict[str, SendAssign] = {}
        self.ended: EndRun | None = None

    def perform(self, commands: Iterable[Command], now: float) -> None:
        """Carries out commands, in order; an Ack goes with the next batch for the same worker where there is one."""
        acked: dict[str, list[Lease]] = {}
        for command in commands:
            match command:
                case Send(session, messages.Ack(lease=lease)):
                    acked.setdefault(session, []).append(lease)
                case Send():
                    self._acknowledge(command.session, acked.pop(command.session, ()))
                    self._send(command)
                case Record():
                    self._record(command, now)
                case SendBatch():
                    self._batches.send(command, acked.pop(command.session, ()))
                case SendPart():
                    self._batches.send_part(command)
                case KeepPart(session, lease, part):
                    self._incoming.keep(session, lease, part if isinstance(part, ResultBytes) else None)
                case Route():
                    self._router.ask(command.step, command.seq_no, command.successors)
                case SendAssign():
                    self._send_assign(command)
                case KeepSlots():
                    self._log.info("slots_wanted", count=command.count)
                    self._slots.keep(command.count)
                case KillWorker():
                    self._kill(command)
                case RefuseHost(worker, step, reason):
                    self._log.warning("host_refused", worker=worker, step=step, reason=reason)
                    self._slots.refuse(worker, step, reason)
                case SayDeparted(session):
                    self._slots.departed(session)
                case SayPaused():
                    self._log.warning("run_paused", step=command.step, reason=command.reason)
                case EndRun():
                    self.ended = command
        for session, leases in acked.items():
            self._acknowledge(session, leases)

    def _acknowledge(self, session: str, leases: Iterable[Lease]) -> None:
        for lease in leases:
            self._incoming.forget(session, lease)
            self._post.send(session, messages.Ack(lease=lease))
            self._crash.reach("before_send")

    def _send(self, command: Send) -> None:
        if isinstance(command.message, messages.Stop):
            member = self._sessions.find(command.session)
            if member is not None:
                member.leaving = True
        if isinstance(command.message, messages.Cancel):
            self._incoming.forget(command.session, command.message.lease)
        self._post.send(command.session, command.message)

    def _record(self, command: Record, now: float) -> None:
        fact, payload = command.fact, command.payload
        if isinstance(fact, RowsBuried):
            self._log.warning("row_buried", step=fact.step, seq_no=fact.seq_no, error=fact.error.message)
            inputs = [self._journal.rows(slices) for slices in fact.inputs if slices]
            self._group.add(command.ticket, fact, buried_row(self._steps[fact.step], inputs, fact.error), now)
            return
        if isinstance(fact, BatchRecorded):
            if fact.failures:
                self._log.warning("rows_failed", step=fact.step, seq_no=fact.seq_no, count=len(fact.failures))
            elif self._log.debugs:
                self._log.debug("batch_recorded", step=fact.step, seq_no=fact.seq_no, rows=fact.rows)
        if isinstance(fact, LimitLearnt):
            self._log.info("limit_learnt", places=fact.places, requests_per_minute=fact.requests, settled=fact.settled)
        if payload is not None and not isinstance(payload, bytes | LargePayload):
            raise JournalError(f"a payload of {fact} is no bytes but {type(payload).__name__}")
        self._group.add(command.ticket, fact, payload, now)

    def assign_held(self) -> None:
        """Sends what processes were not told while the place for passing rows was being made."""
        held, self._held = self._held, {}
        for command in held.values():
            self._send_assign(command)

    def _send_assign(self, command: SendAssign) -> None:
        if not self._passing.ready:
            self._held[command.session] = command
            return
        step = self._steps[command.step]
        assign = messages.Assign(
            step=step.name,
            replica=command.replica,
            replicas=step.resources.replicas,
            step_kind=step.kind,
            signature=step.signature,
            pipeline=self._pipeline,
            python=self._python,
            stateful=step.stateful,
            size=step.size,
            outputs=step.outputs,
            batch_timeout=step.batch_timeout,
            stall_after=step.stall_after,
            artifacts="" if self._artifacts is None else str(self._artifacts / step.name),
            secrets=self._secrets.values(step.name),
            variables=self._secrets.variables(step.name),
            data=step.data,
            storage=self._passing.storage(step.name),
            run=self._passing.run,
        )
        self._log.info("step_assigned", session=command.session, step=step.name, replica=command.replica)
        self._post.send(command.session, assign, [step.definition])

    def _kill(self, command: KillWorker) -> None:
        self._log.warning("worker_killed", session=command.session, reason=command.reason)
        supervisor = self._sessions.supervisor_of(command.session)
        if supervisor is not None:
            self._post.send(supervisor.hello.session, messages.Kill(child=command.session))

"""What the parts of the core share: the run they all work on."""

from __future__ import annotations

from enum import StrEnum

from distilmq.protocol.messages import Lease, Message
from distilmq.protocol.plan import Plan
from distilmq_broker.core.commands import Send
from distilmq_broker.core.flow import Flow
from distilmq_broker.core.leases import Work
from distilmq_broker.core.outbox import Outbox
from distilmq_broker.core.spending import Spending
from distilmq_broker.core.stages import Stages
from distilmq_broker.core.steps import StepState
from distilmq_broker.core.workers import Session, Workers


class Mode(StrEnum):
    """Where the run is in its life."""

    RUNNING = "running"
    DRAINING = "draining"
    """Asked to stop: what is out is awaited, nothing new is handed out."""
    OVER = "over"


class Run:
    """One run: its flow of rows, its workers, and what it says to the world."""

    def __init__(self, plan: Plan, *, many_hosts: bool = False) -> None:
        self.plan = plan
        self.many_hosts = many_hosts
        """Whether hosts differ, so that one may have a package that another lacks."""
        self.flow = Flow(plan)
        self.stages = Stages(self.flow)
        self.workers = Workers()
        self.outbox = Outbox()
        self.spending = Spending(plan.settings)
        self.mode = Mode.RUNNING
        self.held_up: str | None = None
        """Why a user paused it; None if nobody did."""
        self.secrets_missing: dict[str, tuple[str, ...]] = {}
        """Step to the fields that it waits for: it gets no process before they are known."""
        self.returning_until = 0.0
        """Until then processes of an earlier coordinator may come back."""
        self.fault: str | None = None
        """Why nothing can be committed at the moment."""

    @property
    def may_hand_out(self) -> bool:
        """Whether batches may go out."""
        return self.mode is Mode.RUNNING and self.held_up is None and self.fault is None

    def send(self, session: str, message: Message) -> None:
        """Sends a message behind the records so far."""
        self.outbox.emit(Send(session, message))

    def lease(self, work: Work) -> Lease:
        """How the wire names a hand-out."""
        step = self.flow.steps[work.step].name
        return Lease(step=step, seq_no=work.cut.seq_no, part=work.part, attempt=work.attempt)

    def state_of(self, session: Session) -> StepState | None:
        """The step a process was assigned."""
        return None if session.step is None else self.flow.steps[session.step]

    def hold(self, session: Session, work: Work, now: float) -> None:
        """A process has a batch."""
        self.flow.steps[work.step].leases.lease(work, session.id)
        work.since = now
        if not session.held:
            session.since = now
        session.held[work.key] = work
        session.alone = session.alone or work.suspect
        session.quiet = 0

    def let_go(self, session: Session, work: Work, now: float) -> None:
        """A process does not have a batch any more; the caller gives it back or closes it."""
        session.held.pop(work.key, None)
        session.stacks.pop(work.key, None)
        session.since = now
        session.alone = session.alone and any(other.suspect for other in session.held.values())
        session.quiet = 0
        self.flow.steps[work.step].dirty = True

    def holder(self, work: Work) -> Session | None:
        """The process that has a batch."""
        return None if work.holder is None else self.workers.sessions.get(work.holder)

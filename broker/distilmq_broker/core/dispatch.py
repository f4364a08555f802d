"""Who gets what: slots to steps, batches to processes, and how far generators run ahead."""

from __future__ import annotations

from distilmq.protocol.messages import Cancel, Who
from distilmq_broker.core import policy
from distilmq_broker.core.commands import SendAssign, SendBatch, SendPart
from distilmq_broker.core.events import PartWanted
from distilmq_broker.core.facts import Slice
from distilmq_broker.core.leases import Work
from distilmq_broker.core.run import Run
from distilmq_broker.core.sources import ordinal
from distilmq_broker.core.steps import StepState
from distilmq_broker.core.workers import Session, roomiest


class Dispatch:
    """Hands out slots and batches.

    Backpressure is a preference, never a condition of progress: a generator is asked while fewer rows than
    `waiting_rows` wait in loaded steps; and when nothing is out and nothing can be handed out, whatever the bound.
    Rows that wait for a process of their step weigh little: where hosts have fewer slots than there are steps, each
    is to find so much when its turn comes that loading it was worth the while.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._bound = run.plan.settings.waiting_rows
        self._sources = [
            [state for state in run.flow.steps if state.source is not None and state.place.component == component]
            for component in range(run.flow.topology.components)
        ]

    def assign(self, now: float) -> None:
        """Gives free slots the replicas that the current stage lacks: first one of each step, in plan order."""
        for session in self._run.workers.idle():
            lacking = [
                state
                for state in self._run.stages.unfinished()
                if len(state.sessions) < state.place.replicas and self._may_have(session, state)
            ]
            if lacking:
                self.enlist(session, min(lacking, key=lambda state: len(state.sessions)), now)
                self.tell(session)

    def _may_have(self, session: Session, state: StepState) -> bool:
        if state.name in self._run.secrets_missing or session.worker in state.refused:
            return False
        return not session.takes or state.name in session.takes

    def enlist(self, session: Session, state: StepState, now: float) -> None:
        """Makes a process a replica of a step."""
        used = {other.replica for other in state.sessions}
        session.step = state.place.index
        session.assigned = now
        session.replica = next(replica for replica in range(len(used) + 1) if replica not in used)
        session.credit = policy.credit(state.place.spec)
        session.beats = 0
        state.sessions.append(session)
        state.dirty = True

    def tell(self, session: Session) -> None:
        """Tells a process, for the first time or again, which replica it is."""
        if (state := self._run.state_of(session)) is not None:
            self._run.outbox.emit(SendAssign(session.id, state.name, session.replica))

    def hand_out(self, state: StepState, now: float) -> None:
        """Gives a step's batches to its processes, the foremost batch to the one that holds least."""
        if state.source is not None or (now < self._run.returning_until and len(state.sessions) < state.place.replicas):
            return
        while (session := roomiest(state.sessions)) is not None:
            work = self._run.flow.next_work(state)
            if work is None or (work.suspect and session.held):
                return
            self._give(session, work, now)

    def feed(self, now: float) -> None:
        """Asks generators for more, those that gave least first."""
        for component, sources in enumerate(self._sources):
            while askable := [state for state in sources if self._askable(state)]:
                if self._waiting(component) >= self._bound and not self._idle(component):
                    break
                self._ask(min(askable, key=_given), now)

    def work(self, state: StepState) -> int:
        """How many batches a process of a step could be busy with now; 0: one would have nothing to do."""
        if state.source is not None:
            more = self._run.may_hand_out and not state.source.done and self._has_room(state)
            return state.source.asked - state.source.recorded + more
        if not self._run.may_hand_out or self._run.flow.next_work(state) is None:
            return state.leases.leased
        return len(state.leases.pending) + state.buffer.rows // max(1, state.place.spec.size)

    def _has_room(self, state: StepState) -> bool:
        """Whether a generator may run further ahead; one without a process waits until that is worth one."""
        component = state.place.component
        bound = self._bound if state.sessions else self._bound / 2
        return self._waiting(component) < bound or self._idle(component)

    def _askable(self, state: StepState) -> bool:
        source = state.source
        if source is None or not source.may_be_asked or not self._run.stages.loaded(state):
            return False
        return bool(state.sessions) and state.sessions[0].room > 0

    def _ask(self, state: StepState, now: float) -> None:
        if state.source is not None:
            work = state.source.ask()
            state.leases.open(work)
            self._give(state.sessions[0], work, now)

    def _give(self, session: Session, work: Work, now: float) -> None:
        work.attempt += 1
        work.missed = 0
        self._run.hold(session, work, now)
        self.send(session, work)

    def send(self, session: Session, work: Work) -> None:
        """Sends a batch to its holder, for the first time or again."""
        run = self._run
        state = run.flow.steps[work.step]
        work.ticket = run.outbox.ticket
        predecessors = state.place.spec.predecessors
        inputs = tuple((predecessors[branch], work.cut.inputs[branch]) for branch in work.cut.present)
        offset = 0 if state.source is None else state.source.offset
        run.outbox.emit(SendBatch(session.id, run.lease(work), inputs, offset, _first_row(state, work)))

    def send_part(self, event: PartWanted, now: float) -> None:
        """Sends more rows of a large batch to its holder; to any other process, that they are not for it."""
        run = self._run
        session = run.workers.sessions.get(event.session)
        if session is None:
            run.send(event.session, Who())
            return
        run.workers.touch(session.worker, now)
        state = run.state_of(session)
        known = state is not None and state.name == event.lease.step
        work = session.held.get((event.lease.seq_no, event.lease.part)) if known else None
        if work is None:
            run.send(session.id, Cancel(lease=event.lease))
            return
        # It has not begun: neither is it slow, nor was the batch lost on the way.
        session.quiet = 0
        work.since = now
        if next(iter(session.held.values())) is work:
            session.since = now
        inputs = tuple(work.cut.inputs[branch] for branch in work.cut.present)
        run.outbox.emit(SendPart(session.id, run.lease(work), inputs, event.cursor))

    def _waiting(self, component: int) -> float:
        """Rows that steps loaded now could take; what a global step will take does not count."""
        return sum(self._weight(state) for state in self._loaded(component) if state.place.manner != "everything")

    def _weight(self, state: StepState) -> float:
        rows = state.buffer.rows + state.leases.ready_rows
        return rows if state.sessions or not self._run.many_hosts else rows * policy.WEIGHT_WITHOUT_PROCESS

    def _idle(self, component: int) -> bool:
        """Whether no batch is with a worker or the router, and none can be handed out."""
        flow = self._run.flow
        if any(state.leases.leased or state.unrouted.chunks for state in self._loaded(component)):
            return False
        return all(flow.next_work(state) is None for state in self._loaded(component))

    def _loaded(self, component: int) -> list[StepState]:
        stages = self._run.stages
        return [state for state in self._run.flow.steps if state.place.component == component and stages.loaded(state)]


def _first_row(state: StepState, work: Work) -> tuple[Slice, ...]:
    """Of a generator whose process may begin with this batch: the row that is recorded as its first."""
    source = state.source
    if source is None or source.opening is None or ordinal(work.cut.seq_no) != source.recorded:
        return ()
    return (Slice(state.name, source.opening, 0, 1),)


def _given(state: StepState) -> tuple[int, int]:
    source = state.source
    if source is None:
        return (0, state.place.index)
    return (source.offset + (source.asked - source.recorded) * state.place.spec.size, state.place.index)

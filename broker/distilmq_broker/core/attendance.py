"""Processes come, load, beat, and leave: what each of that means for slots and leases."""

from __future__ import annotations

from collections.abc import Iterable

from distilmq.protocol.messages import Ack, Cancel, Drain, ErrorInfo, Lease, Stop, Who
from distilmq_broker.core import policy
from distilmq_broker.core.dispatch import Dispatch
from distilmq_broker.core.ending import Ending
from distilmq_broker.core.events import (
    BatchesWanted,
    LoadFailed,
    SupervisorBeat,
    SupervisorExited,
    SupervisorJoined,
    WorkerBeat,
    WorkerExited,
    WorkerJoined,
    WorkerReady,
    WorkerStalled,
)
from distilmq_broker.core.losses import Losses
from distilmq_broker.core.refusals import lacks_package, refuse
from distilmq_broker.core.run import Mode, Run
from distilmq_broker.core.sources import ordinal
from distilmq_broker.core.steps import StepState
from distilmq_broker.core.workers import Fate, Host, Session


class Attendance:
    """Keeps the list of workers true."""

    def __init__(self, run: Run, dispatch: Dispatch, losses: Losses, ending: Ending) -> None:
        self._run = run
        self._dispatch = dispatch
        self._losses = losses
        self._ending = ending
        self._start_deaths = 0
        self.ever_ready = False
        """Whether any process has loaded its step so far."""

    def supervisor_joined(self, event: SupervisorJoined, now: float) -> None:
        """A host is there, for the first time or again."""
        host = self._run.workers.touch(event.worker, now)
        if host.session != event.session:
            # It was started anew, maybe with what a step lacked.
            for state in self._run.flow.steps:
                state.refused.pop(event.worker, None)
        self._run.workers.supervise(host, event.session)

    def supervisor_beat(self, event: SupervisorBeat, now: float) -> None:
        """A host lives; a process that it does not list any more is gone."""
        host = self._run.workers.supervised(event.session)
        if host is None:
            self._run.send(event.session, Who())
            return
        host.seen = now
        self._take_home(host, event.children)
        for session in self._run.workers.of_host(host.worker):
            if session.id in event.children:
                session.listed, session.unlisted = True, 0
            elif session.listed or event.children:
                session.unlisted += 1
                if session.unlisted >= policy.MISSED_BEATS:
                    # Its end was not reported. It may come back if the beat was sent before it started.
                    counted = session.listed and not session.stopping
                    self._losses.gone(session, counted=counted, why="its supervisor lists it no more", fate=Fate.LOST)

    def _take_home(self, host: Host, children: Iterable[str]) -> None:
        """A host that goes by another name by now has processes that still say the one before."""
        for child in children:
            session = self._run.workers.sessions.get(child)
            if session is not None and session.worker != host.worker:
                self._run.workers.move(session, host.worker)

    def supervisor_exited(self, event: SupervisorExited) -> bool:
        """A supervisor ended and its processes with it; tells whether any slot was lost."""
        known = self._run.workers.forget(event.worker)
        for session in self._run.workers.of_host(event.worker):
            self._losses.gone(session, counted=False, why=f"supervisor {event.worker} ended with code {event.code}")
        return known is not None

    def silence(self, now: float) -> bool:
        """Gives up on hosts that were silent for too long; tells whether there was one."""
        liveness = self._run.plan.settings.liveness
        silent = self._run.workers.silent(liveness, now)
        for host in silent:
            self._run.workers.forget(host.worker)
            for session in self._run.workers.of_host(host.worker):
                why = f"host {host.worker} was silent for {liveness} s"
                self._losses.gone(session, counted=False, why=why, fate=Fate.LOST)
        return bool(silent)

    def joined(self, event: WorkerJoined, now: float) -> None:
        """A step process said Hello."""
        workers = self._run.workers
        workers.touch(event.worker, now)
        self._start_deaths = 0
        if self._run.mode is not Mode.RUNNING and event.session not in workers.sessions:
            self._run.send(event.session, Stop(now=not event.held))
            return
        session = workers.sessions.get(event.session)
        if session is not None:
            self._joined_again(session, event, now)
            return
        fate = workers.gone.get(event.session)
        if fate is Fate.EXITED:
            return
        session = workers.add(event.session, event.worker, event.steps)
        if fate is Fate.CONDEMNED:
            self._losses.condemn(session, counted=False, why="it was given up before")
        elif event.step is not None:
            self._came_back(session, event, now)
        elif self._takes_only_what_waits(session):
            self._stop(session)

    def ready(self, event: WorkerReady, now: float) -> None:
        """`load()` of a step returned."""
        session = self._known(event.session, now)
        state = self._run.state_of(session) if session is not None else None
        if session is None or state is None or state.name != event.step or session.stopping:
            return
        state.load_deaths = 0
        if not session.ready:
            state.load_seconds = max(state.load_seconds, now - session.assigned)
        session.at_once = max(1, event.at_once)
        self._becomes_ready(session, state)

    def wants(self, event: BatchesWanted, now: float) -> None:
        """A step process said how many batches it wants to hold."""
        session = self._known(event.session, now)
        state = self._run.state_of(session) if session is not None else None
        if session is None or state is None:
            return
        session.wanted = event.batches
        session.credit = policy.credit(state.place.spec, session.quick, event.batches)
        state.dirty = True

    def load_failed(self, event: LoadFailed, now: float) -> None:
        """`load()` of a step raised, or a process that had loaded it lacks a package."""
        session = self._known(event.session, now)
        state = self._run.state_of(session) if session is not None else None
        if session is None or state is None or state.name != event.step or state.finished:
            return
        if self._run.many_hosts and lacks_package(event.error):
            for other in refuse(self._run, state, session, event.error):
                self._turn_away(other, state)
        else:
            self._ending.fail(event.step, event.error, loading=True)

    def beat(self, event: WorkerBeat, now: float) -> None:
        """A step process said what it holds."""
        session = self._known(event.session, now)
        if session is None:
            return
        session.beats += 1
        if session.stopping:
            if session.beats >= policy.STOP_PATIENCE:
                self._losses.condemn(session, counted=False, why="it was told to stop and does not")
                return
            if session.beats % policy.WHO_AFTER == 0:
                self._run.send(session.id, Stop())
        elif session.step is not None and not session.ready and session.beats % policy.WHO_AFTER == 0:
            self._run.send(session.id, Who())
        if self._run.mode is Mode.DRAINING and session.held and self._ending.deadline is not None:
            self._run.send(session.id, Drain(timeout=max(0.0, self._ending.deadline - now)))
        self._reconcile(session, event.held, now)
        self._remind(session)

    def stalled(self, event: WorkerStalled) -> None:
        """A step process has been at a batch for long: where it is will be the last that is known if it is killed."""
        session = self._run.workers.sessions.get(event.session)
        if session is None or not session.held:
            return
        key = next(iter(session.held)) if event.lease is None else (event.lease.seq_no, event.lease.part)
        if key in session.held:
            session.stacks[key] = event.stack

    def exited(self, event: WorkerExited) -> None:
        """A step process ended, as its supervisor says."""
        session = self._run.workers.sessions.get(event.session)
        why = f"exit code {event.code}" + (f"\n{event.output}" if event.output else "")
        if session is None:
            self._unknown_exited(event, why)
            return
        state = self._run.state_of(session)
        unexpected = not event.expected and not session.stopping
        loading = state is not None and not session.ready
        self._losses.gone(session, counted=unexpected and session.ready, why=why)
        if state is not None and loading and unexpected:
            state.load_deaths += 1
            if state.load_deaths >= policy.LOAD_DEATHS:
                text = f"{state.load_deaths} processes in a row ended while step '{state.name}' was loading; {why}"
                self._ending.fail(state.name, ErrorInfo(type="WorkerDied", message=text), loading=True)

    def dismiss(self, state: StepState) -> None:
        """The processes of a finished step may leave."""
        for session in state.sessions:
            self._stop(session)
        state.sessions.clear()

    def _turn_away(self, session: Session, state: StepState) -> None:
        """Ends a process whose host lacks a package of its step; what it is at, it may finish."""
        if state.source is not None and state.source.session == session.id:
            # Another one can go on only where the records end, and not before this one is gone.
            self._losses.condemn(session, counted=False, why=f"it lacks a package of step '{state.name}'")
        else:
            self._stop(session)

    def _stop(self, session: Session) -> None:
        session.stopping = True
        session.beats = 0
        self._run.send(session.id, Stop())

    def _known(self, session: str, now: float) -> Session | None:
        found = self._run.workers.sessions.get(session)
        if found is None:
            if self._run.mode is Mode.RUNNING:
                self._run.send(session, Who())
            return None
        self._run.workers.touch(found.worker, now)
        return found

    def _unknown_exited(self, event: WorkerExited, why: str) -> None:
        if self._run.workers.gone.get(event.session) is not None:
            self._run.workers.gone[event.session] = Fate.EXITED
            return
        self._run.workers.gone[event.session] = Fate.EXITED
        if event.expected or event.code == 0:
            return
        self._start_deaths += 1
        if self._start_deaths >= policy.START_DEATHS + self._run.stages.slots():
            text = f"step processes end before they can say Hello; {why}"
            self._ending.fail("", ErrorInfo(type="WorkerDied", message=text), loading=True)

    def _takes_only_what_waits(self, session: Session) -> bool:
        """Whether all its steps wait for a secret: its slot is of more use elsewhere until then."""
        return bool(session.takes) and all(step in self._run.secrets_missing for step in session.takes)

    def _joined_again(self, session: Session, event: WorkerJoined, now: float) -> None:
        state = self._run.state_of(session)
        if session.stopping:
            self._run.send(session.id, Stop())
        elif state is not None and event.step is None:
            # It never got its Assign.
            self._reconcile(session, (), now)
            self._dispatch.tell(session)
        elif state is not None and event.ready:
            self._becomes_ready(session, state)
        self._reconcile(session, event.held, now)

    def _came_back(self, session: Session, event: WorkerJoined, now: float) -> None:
        """A process that outlived a restart of ours, or that was given up, goes on where there is room for it."""
        state = self._run.flow.step(event.step or "")
        held = [lease for lease in event.held if state is not None and lease.step == state.name]
        wanted = state is not None and self._run.stages.loaded(state) and len(state.sessions) < state.place.replicas
        if state is not None and state.source is not None and not wanted:
            # What it holds can never be taken, so it would wait for its Ack for ever.
            self._losses.condemn(session, counted=False, why="another process is this generator by now")
            return
        if state is None or not wanted:
            session.step = None if state is None else state.place.index
            self._stop(session)
            return
        if state.source is not None:
            numbers = [ordinal(lease.seq_no) for lease in held]
            known = [number for number in numbers if number is not None]
            if len(known) != len(numbers) or not state.source.continues(known):
                self._losses.condemn(session, counted=False, why="a generator that lost its place starts again")
                return
            self._dispatch.enlist(session, state, now)
            for work in state.source.adopt(session.id, len(known)):
                state.leases.open(work)
                self._run.hold(session, work, now)
        else:
            self._dispatch.enlist(session, state, now)
        if event.ready:
            self._becomes_ready(session, state)
        self._reconcile(session, held, now)

    def _becomes_ready(self, session: Session, state: StepState) -> None:
        self.ever_ready = True
        session.ready = True
        state.dirty = True
        if state.source is not None and state.source.session is None:
            state.source.begin(session.id)
        if self._run.mode is Mode.DRAINING:
            self._run.send(session.id, Stop(now=True))

    def _reconcile(self, session: Session, held: Iterable[Lease], now: float) -> None:
        """Compares what a process says it holds with what the ledger gives it."""
        state = self._run.state_of(session)
        if state is None:
            return
        said = {(lease.seq_no, lease.part): lease for lease in held if lease.step == state.name}
        for work in list(session.held.values()):
            if work.key in said:
                work.missed = 0
            elif work.ticket <= self._run.outbox.committed:
                work.missed += 1
                if work.missed >= policy.MISSED_BEATS << min(work.losses, 6):
                    work.losses += 1
                    self._losses.returned(session, work, now)
                    if session.id not in self._run.workers.sessions:
                        return
        for key, lease in said.items():
            if key not in session.held:
                self._claimed(session, state, lease, now)

    def _remind(self, session: Session) -> None:
        """Sends a batch again that is listed beat after beat, in case its result was lost on the way."""
        if not session.held or session.stopping or self._run.mode is not Mode.RUNNING:
            return
        session.quiet += 1
        first = next(iter(session.held.values()))
        doubled = session.quiet >= policy.QUIET_BEATS and session.quiet & (session.quiet - 1) == 0
        if doubled and not first.missed and session.id in self._run.workers.sessions:
            self._dispatch.send(session, first)

    def _claimed(self, session: Session, state: StepState, lease: Lease, now: float) -> None:
        """A process holds a batch that the ledger does not give it."""
        if state.source is not None:
            which = ordinal(lease.seq_no)
            if state.source.done or (which is not None and which < state.source.recorded):
                self._run.send(session.id, Ack(lease=lease))
            return
        work = self._run.flow.find(state, (lease.seq_no, lease.part))
        if work is None:
            # It is recorded: a result may be forgotten, and work on it may end.
            self._run.send(session.id, Ack(lease=lease))
            self._run.send(session.id, Cancel(lease=lease))
        elif work.holder is None:
            work.attempt = max(work.attempt, lease.attempt)
            self._run.hold(session, work, now)

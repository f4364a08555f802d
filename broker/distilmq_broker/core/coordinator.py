"""The coordinator's mind: events go in, commands come out; it wires the small parts together.

Everything here is a function of the plan, the facts and the events, in their order. `now` is monotonic seconds,
compared and never stored beyond the process; nothing is drawn by chance and no set is iterated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from distilmq.protocol import messages
from distilmq.protocol.messages import Ack, Lend, Stop
from distilmq.protocol.plan import Plan
from distilmq_broker.core import events, policy, report
from distilmq_broker.core.accounts import Accounts
from distilmq_broker.core.allowance import Allowance
from distilmq_broker.core.attendance import Attendance
from distilmq_broker.core.commands import Command, KeepSlots, SayDeparted, Send
from distilmq_broker.core.dispatch import Dispatch
from distilmq_broker.core.ending import Ending
from distilmq_broker.core.facts import Fact, LimitLearnt, UsageRecorded
from distilmq_broker.core.jobs import Jobs
from distilmq_broker.core.losses import Losses
from distilmq_broker.core.refusals import give_up
from distilmq_broker.core.replay import replay
from distilmq_broker.core.results import Results
from distilmq_broker.core.run import Mode, Run
from distilmq_broker.core.steps import StepState
from distilmq_broker.core.wanted import Wanted, wanted
from distilmq_broker.core.workers import Session, at_work, since


class Coordinator:
    """Decides everything about one run and does nothing itself.

    Give it the journal's facts, start it, then hand it each event and carry out the commands it gives back.

    Args:
        plan: of the run.
        epoch: which coordinator of this run it is, from 1.
        run: its id.
        many_hosts: whether hosts differ, so that one may have a package that another lacks.
        lends: whether it holds the limits of accounts; else somebody does so for several runs, and it passes loans on.
    """

    def __init__(self, plan: Plan, *, epoch: int, run: str, many_hosts: bool = False, lends: bool = True) -> None:
        self.epoch = epoch
        """Which coordinator of this run it is, from 1."""
        self.name = run
        self.run = Run(plan, many_hosts=many_hosts)
        self._results = Results(self.run)
        self._ending = Ending(self.run)
        self._losses = Losses(self.run, self._results, self._ending, self._departed)
        self._dispatch = Dispatch(self.run)
        self._attendance = Attendance(self.run, self._dispatch, self._losses, self._ending)
        self._accounts = Accounts(cautious=epoch > 1)
        self._allowance = Allowance(self.run.spending)
        self._lends = lends
        self._jobs = Jobs(self.run)
        self._slots = 0
        self._nothing_before = 0.0
        # No host and no batch can expire before this time.
        self._timed = tuple(state for state in self.run.flow.steps if state.place.spec.batch_timeout is not None)
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            events.SupervisorJoined: self._attendance.supervisor_joined,
            events.SupervisorBeat: self._attendance.supervisor_beat,
            events.SupervisorExited: self._supervisor_exited,
            events.WorkerJoined: self._attendance.joined,
            events.WorkerReady: self._attendance.ready,
            events.BatchesWanted: self._attendance.wants,
            events.PartWanted: self._part_wanted,
            events.LoanAsked: self._loan_asked,
            events.LoanCame: lambda event, now: self._lend(event.session, event.lend, now),
            events.WorkerBeat: self._attendance.beat,
            events.WorkerStalled: lambda event, now: self._attendance.stalled(event),
            events.WorkerExited: lambda event, now: self._attendance.exited(event),
            events.LoadFailed: self._attendance.load_failed,
            events.HostsExhausted: lambda event, now: give_up(self.run.flow.step(event.step), self._ending),
            events.BatchDone: self._batch_done,
            events.PartCame: lambda event, now: self._results.part(event),
            events.BatchFailed: self._batch_failed,
            events.BatchReturned: self._batch_returned,
            events.AnswerCame: lambda event, now: self._results.answer(event),
            events.JobPlanned: lambda event, now: self._jobs.planned(event),
            events.JobStarted: lambda event, now: self._jobs.started(event),
            events.JobEnded: lambda event, now: self._jobs.ended(event),
            events.UsageCame: self._usage_came,
            events.Routed: self._routed,
            events.RouteFailed: self._route_failed,
            events.Committed: self._committed,
            events.CommitFailed: self._commit_failed,
            events.StopRequested: lambda event, now: self._ending.drain(event.timeout, now),
            events.KillRequested: lambda event, now: self._ending.kill(),
            events.PauseRequested: self._paused,
            events.ResumeRequested: self._resumed,
            events.SecretsMissing: self._secrets_missing,
            events.DeadlineReached: lambda event, now: None,
        }

    @property
    def outcome(self) -> str | None:
        """`done`, `stopped` or `failed`; None while the run goes on."""
        return self._ending.outcome

    def restore(self, facts: Iterable[Fact]) -> None:
        """Takes over what earlier coordinators of the run recorded; called before `start`."""
        replay(self.run.flow, self._of_batches(facts))

    def start(self, now: float) -> list[Command]:
        """Begins, or goes on where the facts end."""
        self._accounts.start(now)
        if self.epoch > 1 and self.run.many_hosts:
            self.run.returning_until = now + policy.RETURN * self.run.plan.settings.liveness
        for state in self.run.flow.steps:
            for seq_no in list(state.unrouted.chunks):
                self._results.ask_route(state, seq_no)
        if self.run.spending.reached():
            self._finish_recorded()
            self._ending.heed_budget(now)
        self._settle(now)
        return self.run.outbox.take()

    def handle(self, event: events.Event, now: float) -> list[Command]:
        """What follows from an event. No event raises, whatever a peer says."""
        handler = self._handlers[type(event)]
        if self.run.mode is Mode.OVER:
            self._handle_late(event)
        else:
            handler(event, now)
            self._settle(now)
        return self.run.outbox.take()

    def next_deadline(self) -> float | None:
        """When to come back with `DeadlineReached` if nothing else happens before."""
        if self.run.mode is Mode.OVER:
            return None
        times = [self._ending.deadline, self.run.workers.silent_until(self.run.plan.settings.liveness)]
        times += [self._expiry(state, session) for state in self._timed for session in state.sessions]
        times += [self.run.returning_until or None]
        return min((time for time in times if time is not None), default=None)

    def progress(self, now: float) -> messages.Progress:
        """What a watching client is told."""
        return report.progress(self.run, self._ending, self._attendance, self.name, now)

    def wanted(self) -> list[Wanted]:
        """The step processes that it wants."""
        return wanted(self.run, self._dispatch)

    def _settle(self, now: float) -> None:
        """Lets everything happen that an event made possible, upstream first."""
        run = self.run
        self._expire(now)
        if 0 < run.returning_until <= now:
            run.returning_until = 0.0
            self._all_dirty()
        if run.mode is Mode.RUNNING:
            self._finish_steps()
            while run.may_hand_out and self._hand_out(now):
                pass
        elif run.mode is Mode.DRAINING:
            if all(state.finished or run.flow.finish(state) for state in run.flow.steps):
                self._ending.finish()
            else:
                self._ending.drained(now)

    def _hand_out(self, now: float) -> bool:
        """Hands out what can be; tells whether that made more possible."""
        run = self.run
        self._dispatch.assign(now)
        for state in run.flow.steps:
            if state.dirty and run.stages.loaded(state):
                state.dirty = False
                self._dispatch.hand_out(state, now)
        self._dispatch.feed(now)
        return any(state.dirty and run.stages.loaded(state) for state in run.flow.steps)

    def _finish_steps(self) -> None:
        run = self.run
        finished = [state for state in run.flow.steps if state.dirty and not state.finished and run.flow.finish(state)]
        if finished or not self._slots:
            run.stages.advance()
            if run.stages.over:
                self._ending.finish()
                return
            self._keep_slots(run.stages.slots())
        for state in finished:
            self._attendance.dismiss(state)

    def _keep_slots(self, count: int) -> None:
        if count != self._slots:
            self._slots = count
            self.run.outbox.emit(KeepSlots(count))

    def _expire(self, now: float) -> None:
        if now < self._nothing_before or self.run.mode is Mode.OVER:
            return
        if self._attendance.silence(now):
            self._slots_lost()
        for state in self._timed:
            for session in list(state.sessions):
                expiry = self._expiry(state, session)
                timeout = state.place.spec.batch_timeout
                if timeout is not None and expiry is not None and now >= expiry:
                    why = f"a batch took longer than batch_timeout ({state.place.spec.batch_timeout} s)"
                    guilty = [work for work in at_work(session) if now >= since(session, work) + timeout]
                    self._losses.condemn(session, counted=True, why=why, guilty=guilty)
        # What begins after now expires later than now plus the shortest timeout.
        timeouts = [state.place.spec.batch_timeout or 0.0 for state in self._timed]
        later = [now + timeout for timeout in (*timeouts, self.run.plan.settings.liveness)]
        known = [self._expiry(state, session) for state in self._timed for session in state.sessions]
        known.append(self.run.workers.silent_until(self.run.plan.settings.liveness))
        self._nothing_before = min([*later, *(time for time in known if time is not None)])

    def _expiry(self, state: StepState, session: Session) -> float | None:
        """When the batch that a process is at takes too long."""
        timeout = state.place.spec.batch_timeout
        began = min((since(session, work) for work in at_work(session)), default=None)
        return None if timeout is None or began is None else began + timeout

    def _slots_lost(self) -> None:
        if self.run.mode is Mode.RUNNING and self._slots:
            self.run.outbox.emit(KeepSlots(self._slots))

    def _all_dirty(self) -> None:
        for state in self.run.flow.steps:
            state.dirty = True

    def _handle_late(self, event: events.Event) -> None:
        """After the end only commits count, and workers that do not know it yet are told."""
        match event:
            case events.Committed():
                self.run.outbox.commit(event.ticket)
            case events.UsageCame():
                self._results.usage(event)
            case events.AnswerCame() if self.outcome != "done":
                # It was paid for, and the run may go on one day.
                self._results.answer(event)
            case events.JobStarted():
                self._jobs.started(event)
            case events.JobEnded():
                self._jobs.ended(event)
            case events.WorkerJoined():
                self.run.send(event.session, Stop(now=True))
            case events.BatchDone() | events.PartCame() if self.outcome == "done":
                self.run.send(event.session, Ack(lease=event.lease))
            case _:
                pass

    def _supervisor_exited(self, event: events.SupervisorExited, now: float) -> None:
        if self._attendance.supervisor_exited(event):
            self._slots_lost()

    def _batch_done(self, event: events.BatchDone, now: float) -> None:
        self._results.done(event, now)

    def _batch_failed(self, event: events.BatchFailed, now: float) -> None:
        state = self.run.flow.step(event.lease.step)
        work = None if state is None else self.run.flow.find(state, (event.lease.seq_no, event.lease.part))
        if state is None:
            return
        if work is None:
            # Another worker has done it meanwhile: this one may forget it.
            self.run.send(event.session, Ack(lease=event.lease))
        elif state.source is None or work.holder == event.session:
            self._ending.fail(event.lease.step, event.error)

    def _usage_came(self, event: events.UsageCame, now: float) -> None:
        if self._results.usage(event):
            self._ending.heed_budget(now)
            for session, lend in self._allowance.changed(now):
                self.run.outbox.urge(Send(session, lend))

    def _of_batches(self, facts: Iterable[Fact]) -> Iterator[Fact]:
        """The facts about batches; those about models are taken over on the way."""
        for fact in facts:
            if isinstance(fact, UsageRecorded):
                self.run.spending.note(fact.step, fact.worker, fact.usage)
            elif isinstance(fact, LimitLearnt):
                self._accounts.know(fact)
            else:
                yield fact

    def _finish_recorded(self) -> None:
        """Finds the steps of which everything is recorded: before anything is handed out, not when it is."""
        for state in self.run.flow.steps:
            self.run.flow.finish(state)

    def _batch_returned(self, event: events.BatchReturned, now: float) -> None:
        session = self.run.workers.sessions.get(event.session)
        work = None if session is None else session.held.get((event.lease.seq_no, event.lease.part))
        if session is not None and work is not None and work.attempt == event.lease.attempt:
            self._losses.returned(session, work, now)

    def _part_wanted(self, event: events.PartWanted, now: float) -> None:
        self._dispatch.send_part(event, now)

    def _loan_asked(self, event: events.LoanAsked, now: float) -> None:
        session = self.run.workers.sessions.get(event.session)
        if session is None:
            return
        if (state := self.run.state_of(session)) is not None:
            self._allowance.asked(event, state.name)
        if not self._lends:
            return
        self._lend(event.session, self._accounts.asked(event, now), now)
        if (news := self._accounts.news(event.account)) is not None:
            self.run.outbox.record(news)

    def _departed(self, session: str) -> None:
        self._allowance.gone(session)
        if self._lends:
            self._accounts.gone(session)
        else:
            self.run.outbox.urge(SayDeparted(session))

    def _lend(self, session: str, lend: Lend, now: float) -> None:
        # It follows from no fact, so it waits for no commit.
        self.run.outbox.urge(Send(session, self._allowance.lent(session, lend, now)))

    def _routed(self, event: events.Routed, now: float) -> None:
        self._results.routed(event)

    def _route_failed(self, event: events.RouteFailed, now: float) -> None:
        state = self.run.flow.step(event.step)
        if state is not None and event.seq_no in state.unrouted.chunks:
            self._ending.fail(event.step, event.error)

    def _committed(self, event: events.Committed, now: float) -> None:
        self.run.outbox.commit(event.ticket)
        if self.run.fault is not None:
            self.run.fault = None
            self._all_dirty()

    def _commit_failed(self, event: events.CommitFailed, now: float) -> None:
        self.run.fault = event.reason

    def _paused(self, event: events.PauseRequested, now: float) -> None:
        self.run.held_up = event.reason

    def _secrets_missing(self, event: events.SecretsMissing, now: float) -> None:
        self.run.secrets_missing = dict(event.steps)

    def _resumed(self, event: events.ResumeRequested, now: float) -> None:
        self.run.held_up = None
        for state in self.run.flow.steps:
            if state.failure_rate is not None:
                state.failure_rate.forget()
        self._all_dirty()

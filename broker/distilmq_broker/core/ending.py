"""How a run ends: done, stopped after draining, killed, or failed."""

from __future__ import annotations

from distilmq.protocol.messages import Drain, ErrorInfo, Stop
from distilmq_broker.core import policy
from distilmq_broker.core.commands import Command, EndRun, KeepSlots, Send, SendBatch
from distilmq_broker.core.leases import Work
from distilmq_broker.core.run import Mode, Run
from distilmq_broker.core.spending import Bound
from distilmq_broker.core.steps import StepState


class Ending:
    """Sees the run out. `outcome` is None while it goes on."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.outcome: str | None = None
        self.step = ""
        """Where it failed."""
        self.deadline: float | None = None
        """Of a draining run: when it gives up on what is out."""
        self.budget: Bound | None = None
        """The bound that it drains for."""

    def fail(self, step: str, error: ErrorInfo, *, loading: bool = False) -> None:
        """The run ends with an error; what is recorded stays."""
        if self._run.mode is not Mode.OVER:
            self.step = step
            self._end(EndRun("failed", step, error, loading), now=True)

    def finish(self) -> None:
        """All steps are finished."""
        if self._run.mode is not Mode.OVER:
            self._end(EndRun("done"), now=False)

    def drain(self, timeout: float, now: float) -> None:
        """Hands out nothing more; what is out has `timeout` seconds."""
        run = self._run
        if run.mode is not Mode.RUNNING:
            return
        run.mode = Mode.DRAINING
        self.deadline = now + max(0.0, timeout) + policy.STOP_GRACE
        for hand_out in run.outbox.recall():
            self._take_back(hand_out, now)
        for session in list(run.workers.sessions.values()):
            if session.ready:
                run.outbox.urge(Send(session.id, Drain(timeout=max(0.0, timeout))))
            else:
                # A process that is loading or idle has nothing to finish.
                run.outbox.urge(Send(session.id, Stop(now=True)))

    def heed_budget(self, now: float) -> None:
        """Drains the run when a bound is reached and a step that asks models has something left to do."""
        run = self._run
        bound = run.spending.reached() if run.mode is Mode.RUNNING else None
        if bound is None or all(state.finished for state in run.flow.steps if self._asks_models(state)):
            return
        self.budget = bound
        self.drain(run.plan.settings.stop_timeout, now)

    def drained(self, now: float) -> None:
        """Ends a draining run once nothing is out, or its time is over."""
        if self._run.mode is not Mode.DRAINING:
            return
        stopped = EndRun("stopped", budget=self.budget or "")
        if not self.in_flight():
            self._end(stopped, now=False)
        elif self.deadline is not None and now >= self.deadline:
            self._end(stopped, now=True)

    def kill(self) -> None:
        """Ends at once: nothing waits for a commit any more."""
        if self._run.mode is not Mode.OVER:
            self._run.outbox.abandon()
            self._end(EndRun("stopped"), now=True, urgent=True)

    def in_flight(self) -> int:
        """Batches with workers."""
        return sum(state.leases.leased for state in self._run.flow.steps)

    def _asks_models(self, state: StepState) -> bool:
        return state.place.spec.models or bool(self._run.spending.of_step(state.name).requests)

    def _end(self, end: EndRun, *, now: bool, urgent: bool = False) -> None:
        run = self._run
        run.mode = Mode.OVER
        self.outcome = end.outcome
        # First the slots, so that no supervisor replaces a process that leaves.
        commands: list[Command] = [KeepSlots(0)]
        commands += [Send(session, Stop(now=now)) for session in run.workers.sessions]
        commands.append(end)
        for command in commands:
            if urgent:
                run.outbox.urge(command)
            else:
                run.outbox.emit(command)

    def _take_back(self, hand_out: SendBatch, now: float) -> None:
        run = self._run
        session = run.workers.sessions.get(hand_out.session)
        state = run.flow.step(hand_out.lease.step)
        if session is None or state is None:
            return
        work: Work | None = session.held.get((hand_out.lease.seq_no, hand_out.lease.part))
        if work is None or work.attempt != hand_out.lease.attempt:
            return
        run.let_go(session, work, now)
        if state.source is None:
            state.leases.give_back(work)
        else:
            state.leases.close(work)
            state.source.asked -= 1

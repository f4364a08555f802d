"""What is lost comes back: batches of dead workers, batches that never arrived, batches that kill.

Only unexpected deaths count, and only for the batches that the worker was at; the others go back uncounted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distilmq.protocol.messages import ErrorInfo
from distilmq_broker.core import policy
from distilmq_broker.core.commands import KillWorker
from distilmq_broker.core.ending import Ending
from distilmq_broker.core.facts import BatchHalved, DeathCounted
from distilmq_broker.core.leases import Work
from distilmq_broker.core.parts import halve
from distilmq_broker.core.results import Results
from distilmq_broker.core.run import Mode, Run
from distilmq_broker.core.sources import ordinal
from distilmq_broker.core.steps import StepState
from distilmq_broker.core.workers import Fate, Session


class Losses:
    """Gives back what workers do not hold any more.

    Args:
        departed: told the session of each process that is gone.
    """

    def __init__(self, run: Run, results: Results, ending: Ending, departed: Callable[[str], None]) -> None:
        self._run = run
        self._results = results
        self._ending = ending
        self._departed = departed

    def gone(
        self,
        session: Session,
        *,
        counted: bool,
        why: str,
        fate: Fate = Fate.EXITED,
        guilty: Sequence[Work] | None = None,
    ) -> None:
        """A process is gone; `counted` if it died unexpectedly, of which a batch it was at may be the cause.

        `guilty` are the batches that were the cause, where that is known.
        """
        self._run.workers.remove(session, fate)
        self._departed(session.id)
        state = self._run.state_of(session)
        if state is None:
            return
        if session in state.sessions:
            state.sessions.remove(session)
        state.dirty = True
        works = list(session.held.values())
        session.held.clear()
        for work in works:
            self._give_back(state, work)
        if state.source is not None and state.source.session == session.id:
            state.source.lose()
        for work in (works[: session.at_once] if guilty is None else guilty) if counted else ():
            if self._run.mode is not Mode.OVER:
                self._count(state, work, why, session.stacks.get(work.key, ""))

    def condemn(self, session: Session, *, counted: bool, why: str, guilty: Sequence[Work] | None = None) -> None:
        """Ends a process that cannot go on; its supervisor replaces it."""
        self._run.outbox.urge(KillWorker(session.id, why))
        self.gone(session, counted=counted, why=why, fate=Fate.CONDEMNED, guilty=guilty)

    def returned(self, session: Session, work: Work, now: float) -> None:
        """A process does not hold a batch, which is nobody's fault."""
        state = self._run.flow.steps[work.step]
        if state.source is None:
            self._run.let_go(session, work, now)
            state.leases.give_back(work)
        elif self._run.mode is Mode.RUNNING:
            self.condemn(session, counted=False, why="a generator that missed a request starts again")
        else:
            self._run.let_go(session, work, now)
            self._give_back(state, work)

    def _give_back(self, state: StepState, work: Work) -> None:
        if state.source is None:
            state.leases.give_back(work)
        else:
            state.leases.close(work)
            state.source.asked -= 1

    def _count(self, state: StepState, work: Work, why: str, stack: str) -> None:
        deaths = self._died(state, work)
        seq_no = work.cut.seq_no
        self._run.outbox.record(DeathCounted(state.name, seq_no, work.part, deaths, work.attempt))
        if state.source is not None and state.source.repeats >= policy.REPEATS:
            self._ending.fail(state.name, _repeats_itself(state.source.offset, why, stack))
            return
        if deaths < policy.deaths_allowed(work.part):
            return
        text = f"{deaths} worker(s) died of this batch; the last one: {why}"
        error = ErrorInfo(type="WorkerDied", message=text, traceback=stack)
        if state.place.spec.kind != "normal":
            self._ending.fail(state.name, error)
        elif work.cut.rows == 1:
            self._results.bury(state, work, error)
        elif not self._halve(state, work):
            self._ending.fail(state.name, error)

    def _died(self, state: StepState, work: Work) -> int:
        if state.source is None:
            work.deaths += 1
            return work.deaths
        return state.source.die(ordinal(work.cut.seq_no) or 0)

    def _halve(self, state: StepState, work: Work) -> bool:
        pair = halve(work.cut)
        if pair is None:
            return False
        cut = work.cut
        self._run.outbox.record(BatchHalved(state.name, cut.seq_no, work.part, cut.inputs, cut.span))
        state.parts.split(cut, work.part)
        for side, half in enumerate(pair):
            state.leases.open(Work(work.step, 2 * work.part + 1 + side, half))
        state.leases.close(work)
        return True


def _repeats_itself(offset: int, why: str, stack: str) -> ErrorInfo:
    text = (
        f"its processes die one after the other, and each began with the same rows as the one before, although"
        f" {offset} rows are recorded: `process` has to go on behind the first `offset` rows. The last one died: {why}"
    )
    return ErrorInfo(type="WorkerDied", message=text, traceback=stack)

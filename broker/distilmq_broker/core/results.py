"""What workers give: results, answers of models, choices of routing functions. The first valid one counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from distilmq.protocol.messages import Ack, Cancel, ErrorInfo, RowFailure, Who
from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core import policy
from distilmq_broker.core.chunks import Chunk
from distilmq_broker.core.commands import KeepPart, Route, SayPaused, Send
from distilmq_broker.core.events import AnswerCame, BatchDone, PartCame, Routed, UsageCame
from distilmq_broker.core.facts import AnswerRecorded, BatchRecorded, RouteRecorded, RowsBuried, UsageRecorded
from distilmq_broker.core.leases import Work
from distilmq_broker.core.run import Run
from distilmq_broker.core.sources import Source, ordinal
from distilmq_broker.core.spans import of_output
from distilmq_broker.core.steps import StepState


class Results:
    """Records what comes in, acknowledges it, and lets it flow on."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def done(self, event: BatchDone, now: float) -> None:
        """A result came, from whoever: it counts if its batch is not recorded yet."""
        state = self._run.flow.step(event.lease.step)
        if event.session not in self._run.workers.sessions:
            self._run.send(event.session, Who())
        if state is None or event.rows < 0:
            return
        if state.source is not None:
            self._generated(state, state.source, event, now)
            return
        work = self._run.flow.find(state, (event.lease.seq_no, event.lease.part))
        if work is None:
            self._acknowledge(event)
            return
        self._release(work, event.session, now)
        self._record(state, work, event)
        self._acknowledge(event)
        self._hand_on(state, work, event.rows)

    def part(self, event: PartCame) -> None:
        """A part of a result came: it is taken from whoever may be the first to bring the whole."""
        state = self._run.flow.step(event.lease.step)
        session = self._run.workers.sessions.get(event.session)
        if session is None:
            # It says all this again behind its Hello.
            self._run.outbox.emit(Send(event.session, Who()))
            return
        session.quiet = 0
        if state is None:
            return
        if state.source is not None:
            self._part_of_source(state.source, event)
        elif self._run.flow.find(state, (event.lease.seq_no, event.lease.part)) is None:
            self._acknowledge(event)
        else:
            self._keep(event)

    def bury(self, state: StepState, work: Work, error: ErrorInfo) -> None:
        """Gives up on a batch of one row; the caller has taken it from its holder."""
        cut = work.cut
        self._run.outbox.record(RowsBuried(state.name, cut.seq_no, work.part, cut.inputs, cut.span, error))
        state.counts.rows_in += cut.rows
        state.counts.failed_rows += cut.rows
        state.leases.close(work)
        self._watch_failures(state, cut.rows, (RowFailure(row=0, error=error),))
        self._hand_on(state, work, cut.rows)

    def answer(self, event: AnswerCame) -> None:
        """A model's answer to a request of a batch that is still out, named by the row it belongs to."""
        state = self._run.flow.step(event.lease.step)
        work = None if state is None else self._run.flow.find(state, (event.lease.seq_no, event.lease.part))
        origin = None if work is None else work.cut.origin(event.row)
        if origin is not None:
            fact = AnswerRecorded(event.lease.step, *origin, event.key, event.occurrence)
            self._run.outbox.record(fact, event.payload)

    def usage(self, event: UsageCame) -> bool:
        """What a process has had from models so far: it is paid for, whatever becomes of its batches.

        Returns:
            Whether that is news.
        """
        if self._run.flow.step(event.step) is None:
            return False
        news = [usage for usage in event.usage if self._run.spending.note(event.step, event.session, usage)]
        for usage in news:
            self._run.outbox.record(UsageRecorded(event.step, event.session, usage))
        return bool(news)

    def routed(self, event: Routed) -> None:
        """The choice of a routing function; its successors were checked by the caller."""
        state = self._run.flow.step(event.step)
        chunk = None if state is None else state.unrouted.pop(event.seq_no)
        if state is None or chunk is None:
            return
        chosen = self._named(state, event.successors)
        names = tuple(self._run.flow.steps[index].name for index in chosen)
        self._run.outbox.record(RouteRecorded(state.name, event.seq_no, names))
        self._run.flow.route(state, chunk, chosen)

    def _named(self, state: StepState, successors: Collection[str]) -> list[int]:
        return [index for index in state.place.successors if self._run.flow.steps[index].name in successors]

    def _generated(self, state: StepState, source: Source, event: BatchDone, now: float) -> None:
        which = ordinal(event.lease.seq_no)
        if which is None or event.lease.part:
            return
        if which < source.recorded or source.done:
            self._acknowledge(event)
        elif source.admits(event.session, which):
            source.early[which] = event
            while (earliest := source.early.get(source.recorded)) is not None and not source.done:
                self._yielded(state, source, earliest, now)

    def _yielded(self, state: StepState, source: Source, event: BatchDone, now: float) -> None:
        work = state.leases.pending.get((event.lease.seq_no, 0)) or source.ask()
        if work.key in state.leases.pending:
            self._release(work, event.session, now)
        else:
            state.leases.open(work)
        source.record(event.rows, last=event.last, payload=event.payload)
        self._record(state, work, event)
        self._acknowledge(event)
        if source.done:
            self._forget_rest(state, source, now)
        self._hand_on(state, work, event.rows)

    def _forget_rest(self, state: StepState, source: Source, now: float) -> None:
        """What was asked for behind the last batch will not come."""
        for work in list(state.leases.pending.values()):
            if (ordinal(work.cut.seq_no) or 0) >= source.recorded:
                self._release(work, "", now)
                state.leases.close(work)
        source.asked = source.recorded

    def _release(self, work: Work, giver: str, now: float) -> None:
        """Takes a batch from its holder; one that still works at it is told to stop."""
        holder = self._run.holder(work)
        if holder is None:
            return
        if holder.id == giver:
            holder.quick = holder.quick + 1 if now - holder.since <= policy.QUICK else 0
            spec = self._run.flow.steps[work.step].place.spec
            holder.credit = policy.credit(spec, holder.quick, holder.wanted)
        self._run.let_go(holder, work, now)
        if holder.id != giver:
            self._run.send(holder.id, Cancel(lease=self._run.lease(work)))

    def _record(self, state: StepState, work: Work, event: BatchDone) -> None:
        cut = work.cut
        generates = state.source is not None
        fact = BatchRecorded(
            step=state.name,
            seq_no=cut.seq_no,
            part=work.part,
            inputs=cut.inputs,
            span=of_output(cut.span, cut.rows, event.rows),
            rows=event.rows,
            taken=cut.rows,
            attempt=work.attempt,
            worker=event.session,
            last=event.last and generates,
            failures=event.failures,
            counts=event.counts,
        )
        self._run.outbox.record(fact, event.payload)
        state.counts.rows_in += cut.rows
        state.counts.failed_rows += len(event.failures)
        state.leases.close(work)
        self._watch_failures(state, cut.rows, event.failures)

    def _hand_on(self, state: StepState, work: Work, rows: int) -> None:
        """Lets the rows of a batch flow on, once all its parts are done."""
        whole = work.cut
        if work.part:
            if (halved := state.parts.finish(whole.seq_no, rows)) is None:
                return
            whole, rows = halved.whole, halved.rows
        chunk = Chunk(state.name, whole.seq_no, rows, of_output(whole.span, whole.rows, rows))
        self._run.flow.deliver(state, chunk)
        if chunk.seq_no in state.unrouted.chunks:
            chosen = state.chosen.pop(chunk.seq_no, None)
            if chosen is None:
                self.ask_route(state, chunk.seq_no)
            else:
                state.unrouted.pop(chunk.seq_no)
                self._run.flow.route(state, chunk, self._named(state, chosen))

    def ask_route(self, state: StepState, seq_no: SeqNo) -> None:
        """Asks which successors take a recorded batch."""
        names = tuple(self._run.flow.steps[index].name for index in state.place.successors)
        self._run.outbox.emit(Route(state.name, seq_no, names))

    def _watch_failures(self, state: StepState, rows: int, failures: Iterable[RowFailure]) -> None:
        """Pauses the run when more of a step's rows fail than its user wants to pay for."""
        if state.failure_rate is None or self._run.held_up is not None:
            return
        if (why := state.failure_rate.add(rows, failures)) is not None:
            self._run.held_up = f"step '{state.name}': {why}"
            self._run.outbox.emit(SayPaused(state.name, self._run.held_up))

    def _part_of_source(self, source: Source, event: PartCame) -> None:
        which = ordinal(event.lease.seq_no)
        if which is None or event.lease.part or which in source.early:
            return
        if which < source.recorded or source.done:
            self._acknowledge(event)
        elif source.admits(event.session, which):
            self._keep(event)

    def _keep(self, event: PartCame) -> None:
        # It follows from no fact: nothing is recorded before the whole is here.
        self._run.outbox.urge(KeepPart(event.session, event.lease, event.part))

    def _acknowledge(self, event: BatchDone | PartCame) -> None:
        self._run.send(event.session, Ack(lease=event.lease))

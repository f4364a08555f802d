"""How rows flow along the DAG: recorded batches to the successors' buffers, watermarks, new batches out of buffers.

A step's watermark is the least number that a batch of it may have which is not recorded yet; what it has
*delivered* is what is recorded and, behind a routed step, routed.
"""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.protocol.plan import Plan
from distilmq.protocol.seq_no import SeqNo, number
from distilmq_broker.core.buffers.aligned import Aligned
from distilmq_broker.core.buffers.buffer import buffer_for
from distilmq_broker.core.buffers.nothing import Nothing
from distilmq_broker.core.chunks import Chunk
from distilmq_broker.core.failure_rate import FailureRate
from distilmq_broker.core.leases import Key, Leases, Work
from distilmq_broker.core.numbers import END
from distilmq_broker.core.sources import Source
from distilmq_broker.core.spans import origins
from distilmq_broker.core.steps import StepState
from distilmq_broker.core.topology import Place, Topology


class Flow:
    """All steps of a run and the rows between them."""

    def __init__(self, plan: Plan) -> None:
        self.topology = Topology(plan)
        self.steps = tuple(self._state(place) for place in self.topology.places)
        """In topological order."""

    def step(self, name: str) -> StepState | None:
        """The step of that name, if there is one."""
        index = self.topology.index.get(name)
        return None if index is None else self.steps[index]

    def delivered(self, index: int) -> SeqNo:
        """The least number of a batch that successors may still get from a step."""
        state = self.steps[index]
        low = self.low(index)
        return min(low, state.unrouted.low()) if state.place.routed else low

    def low(self, index: int) -> SeqNo:
        """The least number that a batch of a step may have which is not recorded yet."""
        state = self.steps[index]
        if state.finished:
            return END
        if state.source is not None:
            return END if state.source.done else number(state.source.recorded)
        low = min(state.leases.low(), state.buffer.low(self.delivered))
        if state.place.manner in ("batchwise", "stream"):
            low = min(low, self.delivered(state.place.predecessors[0]))
        return low

    def next_work(self, state: StepState) -> Work | None:
        """The foremost batch of a step that can be handed out, cut from the buffer if need be."""
        work = state.leases.next()
        return work if work is not None else self._cut(state)

    def find(self, state: StepState, key: Key) -> Work | None:
        """The batch of that name if it is not recorded yet, cut from the buffer if need be."""
        seq_no, part = key
        found = state.leases.pending.get(key)
        if found is not None or part or seq_no in state.parts.halved:
            return found
        # Only a worker that outlived a restart of ours names a batch that is not cut yet.
        while state.buffer.rows and state.buffer.low(self.delivered) <= seq_no:
            if (work := self._cut(state)) is None:
                return None
            if work.cut.seq_no == seq_no:
                return work
        return None

    def deliver(self, state: StepState, chunk: Chunk) -> None:
        """A whole batch is recorded: its rows go to the successors, or wait for the routing function."""
        state.counts.batches += 1
        state.counts.rows += chunk.rows
        self.touch(state)
        if not chunk.rows or not state.place.successors:
            return
        if state.place.routed:
            state.unrouted.add(chunk)
        else:
            self._hand_on(state, chunk, state.place.successors)

    def route(self, state: StepState, chunk: Chunk, chosen: Sequence[int]) -> None:
        """The successors of a batch are chosen."""
        self.touch(state)
        if not chosen:
            state.counts.nowhere += 1
        self._hand_on(state, chunk, chosen)

    def touch(self, state: StepState) -> None:
        """The step's watermark may have moved."""
        state.dirty = True
        for index in state.place.successors:
            self.steps[index].dirty = True
        self._touch_ordered(state)

    def _touch_ordered(self, state: StepState) -> None:
        for index in state.place.ordered_after:
            self.steps[index].dirty = True

    def finish(self, state: StepState) -> bool:
        """Whether nothing more can come of a step, which is then finished."""
        if state.source is not None:
            over = state.source.done
        else:
            over = not state.buffer.rows and all(self.steps[index].finished for index in state.place.predecessors)
        if not over or state.leases.pending or state.parts.halved or state.unrouted.chunks:
            return False
        state.finished = True
        state.buffer = Nothing()
        self.touch(state)
        return True

    def _state(self, place: Place) -> StepState:
        watched = bool(place.ordered_after)
        source = Source(place) if place.manner == "source" else None
        allowed = place.spec.max_failure_rate
        rate = None if allowed is None else FailureRate(allowed)
        return StepState(place, buffer_for(place, self.topology), Leases(watched), source, failure_rate=rate)

    def _cut(self, state: StepState) -> Work | None:
        before = state.buffer.low(self.delivered) if state.place.ordered_after else END
        cut = state.buffer.take(self.delivered)
        if before != END and (state.buffer.low(self.delivered) if cut is None else cut.seq_no) > before:
            # It passed rows that nobody will take: whoever waits for the order of rows may go on.
            self._touch_ordered(state)
        if cut is None:
            return None
        deaths = state.deaths.pop((cut.seq_no, 0), 0) if state.deaths else 0
        work = Work(state.place.index, 0, cut, deaths)
        state.leases.open(work)
        return work

    def _hand_on(self, state: StepState, chunk: Chunk, chosen: Sequence[int]) -> None:
        place = state.place
        for join in place.rulers:
            buffer = self.steps[join].buffer
            if isinstance(buffer, Aligned):
                buffer.measure(chunk.seq_no, chunk.rows)
        if place.routed:
            self._pass_by(place, chunk, chosen)
        for index in chosen:
            successor = self.steps[index]
            successor.buffer.add(successor.place.predecessors.index(place.index), chunk)

    def _pass_by(self, place: Place, chunk: Chunk, chosen: Sequence[int]) -> None:
        """Tells the joins below which of their branches this batch does not go to."""
        for join in self.steps:
            fork = join.place.fork
            if fork is None or not (fork == place.index or self.topology.inside(place.index, join.place.index)):
                continue
            if not isinstance(join.buffer, Aligned):
                continue
            for branch, end in enumerate(join.place.predecessors):
                if self.topology.dominates(place.index, end) and not self._leads(place, join.place, end, chosen):
                    segments = origins(chunk, self.topology.places[fork].name, 0, chunk.rows)
                    join.buffer.pass_by(branch, segments)

    def _leads(self, place: Place, join: Place, end: int, chosen: Sequence[int]) -> bool:
        """Whether one of the chosen successors leads to that predecessor of the join."""
        if end == place.index:
            return join.index in chosen
        return any(self.topology.leads_to(index, end) for index in chosen)

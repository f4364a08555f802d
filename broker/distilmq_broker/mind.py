"""The core as the service asks it: events, deadlines, progress, and how far a step's output is settled."""

from __future__ import annotations

from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.coordinator import Coordinator
from distilmq_broker.core.numbers import END


class RunMind(Coordinator):
    """See `ports.Mind`."""

    def settled(self, step: str) -> SeqNo | None:
        """See `ports.Mind`; of a step that is not in the plan nothing more comes."""
        state = self.run.flow.step(step)
        if state is None:
            return None
        low = self._low(state.place.index)
        return None if low >= END else low

    def _low(self, index: int) -> SeqNo:
        """As `Flow.low`, also for steps whose order nothing in the plan waits for."""
        flow = self.run.flow
        state = flow.steps[index]
        if state.finished:
            return END
        low = min([flow.low(index), *(seq_no for seq_no, _ in state.leases.pending)])
        if state.place.manner in ("batchwise", "stream"):
            before = state.place.predecessors[0]
            low = min(low, flow.delivered(before), self._low(before))
        return low

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
        low = self.run.flow.low(state.place.index)
        return None if low >= END else low

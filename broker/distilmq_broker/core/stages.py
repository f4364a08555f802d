"""Which steps are loaded: one stage after the other, each until its last step is finished."""

from __future__ import annotations

from distilmq_broker.core.flow import Flow
from distilmq_broker.core.steps import StepState


class Stages:
    """The current stage."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.current = 0
        self.count = len(flow.topology.stages)

    @property
    def over(self) -> bool:
        """Whether all stages are finished."""
        return self.current >= self.count

    def loaded(self, state: StepState) -> bool:
        """Whether a step is to have processes now."""
        return state.place.stage == self.current and not state.finished

    def unfinished(self) -> list[StepState]:
        """The steps that are to have processes now, in plan order."""
        return [state for state in self._flow.steps if self.loaded(state)]

    def advance(self) -> bool:
        """Goes on to the first stage that is not finished; tells whether it moved."""
        before = self.current
        while not self.over and not self.unfinished():
            self.current += 1
        return self.current != before

    def slots(self) -> int:
        """How many processes the current stage wants."""
        return sum(state.place.replicas for state in self.unfinished())

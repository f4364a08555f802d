"""Which step processes a run wants, for a broker that has slots to give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distilmq_broker.core.dispatch import Dispatch
from distilmq_broker.core.run import Mode, Run
from distilmq_broker.core.steps import StepState


@dataclass(frozen=True, slots=True)
class Wanted:
    """Processes of one step."""

    step: str
    processes: int
    work: int
    """Batches that wait or are in hand; 0: a process would have nothing to do at the moment."""
    fed: bool = False
    """More comes to its processes, though they have nothing to do at the moment."""
    ready: int = 0
    """Processes that have loaded it."""
    load: float = 0.0
    """Seconds that loading has taken; 0 while none is ready."""
    waits: bool = False
    """A new process could not begin, as a secret is missing; those that outlived a restart of ours have it."""


def wanted(run: Run, dispatch: Dispatch) -> list[Wanted]:
    """The processes that the steps loaded now want; of a run that drains, those that still hold something.

    A step whose secret nobody knows keeps the processes that have it from before a restart, and gets no others.
    """
    if run.mode is Mode.OVER:
        return []
    if run.mode is Mode.DRAINING:
        holding = [(state.name, sum(bool(session.held) for session in state.sessions)) for state in run.flow.steps]
        return [Wanted(step, processes, processes, ready=processes) for step, processes in holding if processes]
    unfinished = run.stages.unfinished()
    work = {state.place.index: dispatch.work(state) for state in unfinished}
    fed = _fed(run, work) if run.may_hand_out else set[int]()
    return [
        Wanted(
            state.name,
            state.place.replicas,
            work[state.place.index],
            fed=state.place.index in fed and not work[state.place.index],
            ready=sum(session.ready for session in state.sessions),
            load=state.load_seconds,
            waits=state.name in run.secrets_missing,
        )
        for state in unfinished
    ]


def _fed(run: Run, work: Mapping[int, int]) -> set[int]:
    """The steps to which more comes from processes that are at work now: nothing on the way waits for a process."""
    busy = [state for state in run.flow.steps if state.sessions and _is_busy(state, work)]
    flowing = {state.place.index for state in busy}
    flowing |= {state.place.index for state in run.flow.steps if state.finished}
    fed: set[int] = set()
    for state in run.flow.steps:
        if state.source is None and state.place.manner != "everything" and flowing.issuperset(state.place.predecessors):
            fed.add(state.place.index)
            if state.sessions:
                flowing.add(state.place.index)
        elif state.source is not None and any(other.place.component == state.place.component for other in busy):
            # It waits for those that are at work to make room.
            fed.add(state.place.index)
    return fed


def _is_busy(state: StepState, work: Mapping[int, int]) -> bool:
    return work.get(state.place.index, 0) > 0 or bool(state.unrouted.chunks)

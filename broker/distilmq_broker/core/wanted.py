"""Which step processes a run wants, for a broker that has slots to give."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq_broker.core.dispatch import Dispatch
from distilmq_broker.core.run import Mode, Run


@dataclass(frozen=True, slots=True)
class Wanted:
    """Processes of one step."""

    step: str
    processes: int
    work: int
    """Batches that wait or are in hand; 0: a process would have nothing to do at the moment."""
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
        return [Wanted(step, processes, processes) for step, processes in holding if processes]
    return [
        Wanted(state.name, state.place.replicas, dispatch.work(state), waits=state.name in run.secrets_missing)
        for state in run.stages.unfinished()
    ]

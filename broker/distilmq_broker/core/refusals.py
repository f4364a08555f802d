"""A host that lacks what a step needs gets no more of it, while there are others that may have it."""

from __future__ import annotations

from distilmq.protocol.messages import ErrorInfo
from distilmq_broker.core.commands import RefuseHost
from distilmq_broker.core.ending import Ending
from distilmq_broker.core.run import Run
from distilmq_broker.core.steps import StepState
from distilmq_broker.core.workers import Session

_MISSING = ("ImportError", "ModuleNotFoundError")


def lacks_package(error: ErrorInfo) -> bool:
    """Whether a step was not loaded, or could not go on, because something is not installed."""
    return error.type in _MISSING


def refuse(run: Run, state: StepState, session: Session, error: ErrorInfo) -> list[Session]:
    """Has a process's host get no more of a step; gives the processes of the step there that can do no more of it.

    Those that have loaded it go on when another one could not; when one of them came to rows that need more than
    `load()` did, so will the others.
    """
    worker = session.worker
    state.refused[worker] = error
    fix = "install it there, and start the worker again"
    run.outbox.urge(RefuseHost(worker, state.name, f"{error.type}: {error.message}; {fix}"))
    unable = [other for other in state.sessions if other.worker == worker and (session.ready or not other.ready)]
    for other in unable:
        state.sessions.remove(other)
    return unable


def give_up(state: StepState | None, ending: Ending) -> None:
    """No host is left that could be asked to load a step: the run fails with what the last one said."""
    if state is None or state.finished or state.sessions or not state.refused:
        return
    error = list(state.refused.values())[-1]
    tried = f"No worker is left to try; tried: {', '.join(state.refused)}. Install it on one of them."
    ending.fail(state.name, error.model_copy(update={"message": f"{error.message} ({tried})"}), loading=True)

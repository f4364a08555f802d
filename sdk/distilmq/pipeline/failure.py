"""From the end of a run that failed to the exception that the user's script gets."""

from __future__ import annotations

import pickle

from distilmq.errors import DistilmqError, RunError, StepError, StepLoadError
from distilmq.protocol.messages import ErrorInfo, Finished


class WorkerTraceback(DistilmqError):
    """Shows where it happened in the worker: the text of the traceback there."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0].rstrip()}\n"""'


def run_error(finished: Finished, *, trusted: bool = False) -> RunError:
    """The exception for a run that failed.

    Args:
        finished: how it ended.
        trusted: its workers are this process's own: the original exception, unpickled, is the cause. Of others only
            the text is shown.
    """
    error = finished.error or ErrorInfo(type="RuntimeError", message="the coordinator gave no reason")
    said = f"{error.type}: {error.message}" if error.message else error.type
    if finished.loading:
        failed: RunError = StepLoadError(
            f"Failed to load all the steps. Could not run pipeline. Step '{finished.step}' raised {said}",
            step=finished.step,
            worker_traceback=error.traceback,
        )
    elif finished.step:
        failed = StepError(
            f"Step '{finished.step}' ended the run: {said}", step=finished.step, worker_traceback=error.traceback
        )
    else:
        failed = RunError(f"The run ended: {said}", worker_traceback=error.traceback)
    failed.__cause__ = original(error if trusted else error.model_copy(update={"pickled": None}))
    return failed


def original(error: ErrorInfo) -> BaseException | None:
    """The exception that was raised in the worker, or one that shows its traceback; None when there is neither."""
    shown = WorkerTraceback(error.traceback) if error.traceback else None
    if error.pickled is None:
        return shown
    try:
        rebuilt = pickle.loads(error.pickled)  # of the run this process started itself
    except Exception:  # noqa: BLE001  # unpickling runs the exception's own code, which may do anything
        return shown
    if not isinstance(rebuilt, BaseException):
        return shown
    rebuilt.__cause__ = shown
    return rebuilt

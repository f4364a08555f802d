"""What the user's script gets when a run fails."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import cloudpickle
import pytest

from distilmq.errors import RunError, StepError, StepLoadError
from distilmq.pipeline.dead_letters import readable
from distilmq.pipeline.failure import WorkerTraceback, run_error
from distilmq.protocol.messages import ErrorInfo, Finished
from distilmq.protocol.rows import encode_row
from tests.canary import Canary

TRACE = "Traceback (most recent call last):\n  File \"task.py\", line 7, in load\nKeyError: 'x'\n"


def test_a_step_that_cannot_be_loaded() -> None:
    error = ErrorInfo(type="KeyError", message="'x'", traceback=TRACE, pickled=cloudpickle.dumps(KeyError("x")))

    failed = run_error(Finished(outcome="failed", step="task", error=error, loading=True), trusted=True)

    assert isinstance(failed, StepLoadError)
    assert str(failed) == "Failed to load all the steps. Could not run pipeline. Step 'task' raised KeyError: 'x'"
    assert (failed.step, failed.worker_traceback) == ("task", TRACE)
    assert isinstance(failed.__cause__, KeyError)
    assert 'File "task.py", line 7, in load' in "".join(traceback.format_exception(failed))


def test_a_step_that_ends_the_run() -> None:
    failed = run_error(Finished(outcome="failed", step="load", error=ErrorInfo(type="OSError", message="gone")))

    assert isinstance(failed, StepError)
    assert str(failed) == "Step 'load' ended the run: OSError: gone"
    assert failed.__cause__ is None


def test_an_exception_that_cannot_be_rebuilt_shows_the_workers_traceback() -> None:
    error = ErrorInfo(type="Odd", message="!", traceback=TRACE, pickled=b"no pickle")

    failed = run_error(Finished(outcome="failed", step="load", error=error), trusted=True)

    assert isinstance(failed.__cause__, WorkerTraceback)
    assert "task.py" in "".join(traceback.format_exception(failed))


@pytest.mark.parametrize("trusted", [False, True])
def test_an_exception_is_only_rebuilt_where_the_workers_are_trusted(tmp_path: Path, trusted: bool) -> None:
    path = tmp_path / "canary"
    error = ErrorInfo(type="Odd", message="!", traceback=TRACE, pickled=pickle.dumps(Canary(path)))

    failed = run_error(Finished(outcome="failed", step="load", error=error), trusted=trusted)

    assert path.exists() == trusted
    assert isinstance(failed.__cause__, WorkerTraceback)
    assert str(failed) == "Step 'load' ended the run: Odd: !"


def test_a_coordinator_that_ends_the_run() -> None:
    failed = run_error(Finished(outcome="failed", error=ErrorInfo(type="JournalError", message="disk full")))

    assert type(failed) is RunError
    assert str(failed) == "The run ended: JournalError: disk full"


def test_dead_letters_are_readable() -> None:
    letter = {
        "step": "task",
        "input": encode_row({"n": 7}),
        "error": {"type": "ValueError", "message": "seven", "traceback": TRACE, "pickled": b"x"},
        "seq_no": [1],
        "row": 2,
    }

    assert readable([letter]) == [
        {
            "step": "task",
            "input": {"n": 7},
            "error": "ValueError: seven",
            "error_class": "ValueError",
            "message": "seven",
            "traceback": TRACE,
            "seq_no": [1],
            "row": 2,
        }
    ]

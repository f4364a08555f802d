"""The error tree.

    DistilmqError
    ├── DistilmqUserError (ValueError)                 the pipeline, a parameter or the data is wrong
    ├── DistilmqTypeError (TypeError)                  something has the wrong type
    ├── DistilmqNotImplementedError (NotImplementedError)
    ├── StepFatalError (RuntimeError)                  raised in a step, it ends the run instead of failing rows
    │   └── JoinError (ValueError)                     the lists of a join differ in length
    ├── DrainedError                                   a draining worker sends no new request
    ├── RunError (RuntimeError)                        a run ended because of an error
    │   ├── CoordinatorLostError                       the coordinator died: run the script again to go on
    │   ├── StepLoadError                              a step could not be loaded
    │   └── StepError                                  a generator, a global step or a join raised
    ├── LocalProtocolError                             we broke the protocol: a bug of ours
    ├── RemoteProtocolError                            a peer broke the protocol: it is answered and counted
    ├── RowTypeError (TypeError)                       a row holds a value that cannot travel
    └── JournalError                                   the journal cannot be read or written

The `Distilabel…` names are aliases, so that scripts written for distilabel go on catching what they caught.
"""

from __future__ import annotations

DOCS = "https://github.com/distilmq/distilmq/blob/main/docs/"


class DistilmqError(Exception):
    """The root of all errors of distilmq."""


class _DocumentedError(DistilmqError):
    """An error that may name the page of the docs that explains it."""

    def __init__(self, message: str, *, page: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.page = page

    def __str__(self) -> str:
        if self.page is None:
            return self.message
        return f"{self.message}\n\nFor further information visit '{DOCS}{self.page}'"


class DistilmqUserError(_DocumentedError, ValueError):
    """The pipeline, a parameter or the data is wrong: the message names the step, the column and the fix."""


class DistilmqTypeError(_DocumentedError, TypeError):
    """Something has the wrong type."""


class DistilmqNotImplementedError(_DocumentedError, NotImplementedError):
    """The class does not offer this."""


class StepFatalError(DistilmqError, RuntimeError):
    """Raised by a step, it ends the run instead of failing rows."""


class JoinError(StepFatalError, ValueError):
    """The lists of a join differ in length; the message names the join, each branch and its count."""


class DrainedError(DistilmqError):
    """A draining worker sends no new request: the batch goes back with the answers it has."""


class RunError(DistilmqError, RuntimeError):
    """A run ended because of an error; `step` names where, `worker_traceback` shows it."""

    def __init__(self, message: str, *, step: str = "", worker_traceback: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.worker_traceback = worker_traceback


class CoordinatorLostError(RunError):
    """The coordinator died; the message shows its last lines and how to go on."""


class StepLoadError(RunError):
    """A step could not be loaded; `__cause__` is the original error where it could be rebuilt."""


class StepError(RunError):
    """A generator, a global step or a join raised; `__cause__` is the original where it could be rebuilt."""


class LocalProtocolError(DistilmqError):
    """This program broke the protocol: a bug of ours."""


class RemoteProtocolError(DistilmqError):
    """A peer broke the protocol."""


class RowTypeError(DistilmqError, TypeError):
    """A row holds a value that cannot travel; the message names column, type and what to return instead."""

    def __init__(self, message: str, *, column: str, type_name: str) -> None:
        super().__init__(message)
        self.column = column
        self.type_name = type_name


class JournalError(DistilmqError):
    """The journal cannot be read or written; `str()` says which file and why."""


DistilabelError = DistilmqError
DistilabelUserError = DistilmqUserError
DistilabelTypeError = DistilmqTypeError
DistilabelNotImplementedError = DistilmqNotImplementedError

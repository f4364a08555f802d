"""The error tree.

    DistilmqError
    ├── DistilmqUserError (ValueError)                 the pipeline, a parameter or the data is wrong
    ├── DistilmqTypeError (TypeError)                  something has the wrong type
    ├── DistilmqNotImplementedError (NotImplementedError)
    ├── StepFatalError (RuntimeError)                  raised in a step, it ends the run instead of failing rows
    │   └── JoinError (ValueError)                     the lists of a join differ in length
    ├── DrainedError                                   a draining worker sends no new request
    ├── RowsFailedError                                some rows of a batch failed, each for its own reason
    ├── RequestError                                   a model did not answer a request
    │   ├── RateLimitedError                           it asks for fewer requests
    │   ├── TransientError                             it may answer when it is asked again
    │   ├── InvalidRequestError                        it will not answer this request as it stands
    │   │   └── TooLongError                           it is longer than the model takes
    │   ├── RefusedError                               it refuses this content
    │   ├── InvalidAnswerError                         its answers do not have the shape that they shall have
    │   └── RequestsFailedError                        some of several requests failed
    ├── RunError (RuntimeError)                        a run ended because of an error
    │   ├── BudgetReachedError                         it has cost as much as it may: a higher bound goes on
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

from collections.abc import Mapping
from typing import Self

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


class RowsFailedError(DistilmqError):
    """Some rows of a batch failed, each for its own reason: `process` called without them comes out right.

    `failures` maps the place of a row in the list given to `process` to what it raised.
    """

    def __init__(self, failures: Mapping[int, Exception], rows: int) -> None:
        super().__init__(dict(failures), rows)
        self.failures = dict(failures)
        self.rows = rows

    def __str__(self) -> str:
        return _told(self.failures, f"of {self.rows} rows failed; row")


class RequestError(DistilmqError):
    """A model did not answer a request, or its answer is of no use."""

    attempts: int = 1
    """How often the request was sent."""
    answer: str | None = None
    """What the model said, where it said something, or what its server sent instead."""

    def with_answer(self, answer: object) -> Self:
        """This error, telling what was said; None where nothing was."""
        self.answer = None if answer is None else str(answer)
        return self


class RateLimitedError(RequestError):
    """The provider asks for fewer requests; `retry_after` are the seconds it names, if it names any."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TransientError(RequestError):
    """The provider may answer when it is asked again: a 5xx, a timeout, a cut connection."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidRequestError(RequestError):
    """The provider will not answer this request as it stands."""


class TooLongError(InvalidRequestError):
    """The request is longer than the model takes."""


class RefusedError(RequestError):
    """The provider refuses this content."""


class InvalidAnswerError(RequestError):
    """However often the model was asked, its answer does not have the shape that was wanted; `answer` is the last."""


class RequestsFailedError(RequestError):
    """Some of several requests failed; `failures` maps the place of an input to what its request raised."""

    def __init__(self, failures: Mapping[int, Exception], inputs: int) -> None:
        super().__init__(dict(failures), inputs)
        self.failures = dict(failures)
        self.inputs = inputs

    def __str__(self) -> str:
        return _told(self.failures, f"of {self.inputs} requests failed; input")


class RunError(DistilmqError, RuntimeError):
    """A run ended because of an error; `step` names where, `worker_traceback` shows it."""

    def __init__(self, message: str, *, step: str = "", worker_traceback: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.worker_traceback = worker_traceback


class BudgetReachedError(RunError):
    """The run has reached `max_cost` or `max_tokens` and was stopped; run with a higher one, it goes on.

    `bound` names which of the two, `limit` is what it was set to, `cost` (US dollars, of requests whose price is
    known) and `tokens` are what the run has taken in all its starts.
    """

    def __init__(self, message: str, *, bound: str, limit: float, cost: float, tokens: int) -> None:
        super().__init__(message)
        self.bound = bound
        self.limit = limit
        self.cost = cost
        self.tokens = tokens


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


def _told(failures: Mapping[int, Exception], what: str) -> str:
    place, first = next(iter(failures.items()))
    return f"{len(failures)} {what} {place}: {type(first).__name__}: {first}"


DistilabelError = DistilmqError
DistilabelUserError = DistilmqUserError
DistilabelTypeError = DistilmqTypeError
DistilabelNotImplementedError = DistilmqNotImplementedError

"""The exceptions of `distilabel.exceptions`, for scripts that import them from there."""

from __future__ import annotations

from distilmq.errors import DistilmqError


class DistilmqException(DistilmqError):  # the name that scripts import
    """The root of what this module offers."""


class DistilmqGenerationException(DistilmqException):  # the name that scripts import
    """A model could not generate."""


class DistilmqOfflineBatchGenerationNotFinishedException(DistilmqGenerationException):  # ditto
    """The provider still works on the batch jobs named in `jobs_ids`."""

    def __init__(self, jobs_ids: tuple[str, ...]) -> None:
        super().__init__(f"Batch generation with jobs_ids={jobs_ids} is not finished")
        self.jobs_ids = jobs_ids


DistilabelException = DistilmqException
DistilabelGenerationException = DistilmqGenerationException
DistilabelOfflineBatchGenerationNotFinishedException = DistilmqOfflineBatchGenerationNotFinishedException

__all__ = [
    "DistilabelException",
    "DistilabelGenerationException",
    "DistilabelOfflineBatchGenerationNotFinishedException",
    "DistilmqException",
    "DistilmqGenerationException",
    "DistilmqOfflineBatchGenerationNotFinishedException",
]

"""What is left of the last run of a pipeline: its rows so far, its dead letters, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distilmq.protocol.failure_filter import FailureFilter

if TYPE_CHECKING:
    from distilmq.distiset import Distiset
    from distilmq.pipeline.estimate import Estimate
    from distilmq.pipeline.usage import RunUsage


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a pipeline in this process, whether it was finished, stopped or failed."""

    directory: Path
    """With the journal, the log and the dataset. Of a dry run it is gone; of a run at a broker it has the dataset."""
    outcome: Literal["done", "stopped", "failed", "lost"]
    _open_distiset: Callable[[], Distiset] = field(repr=False)
    _read_failures: Callable[[], list[dict[str, Any]]] = field(repr=False)
    _read_usage: Callable[[], RunUsage] = field(repr=False)
    _retry_failures: Callable[[FailureFilter], LastRun] = field(repr=False)
    estimate: Estimate | None = None
    """Of a dry run: what a run will take."""

    def distiset(self) -> Distiset:
        """The rows that are recorded: of a run that was stopped or failed, those up to there."""
        return self._open_distiset()

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The dead letters, one for each row that failed.

        Each has its `step`, `input`, `error` (that is `error_class` and `message`), `answer` (what the model said,
        where it said something), `attempts`, `traceback`, `worker` and `time`.
        """
        return self._read_failures()

    @property
    def usage(self) -> RunUsage:
        """What models took in all starts of this run: requests, tokens and money per step, model and worker.

        A revision has what the run took that it revises, and what it took itself.
        """
        return self._read_usage()

    def retry_failures(self, *, step: str | None = None, error: str | None = None) -> LastRun:
        """Computes failed rows again, and what was made from them, in a new revision of the run.

        Everything else stays as it is recorded, and no model is asked about it again.

        Args:
            step: only rows that failed in this step.
            error: only this class of error, or messages with this text.

        Returns:
            The revision, which is the pipeline's last run from then on.

        Raises:
            DistilmqUserError: no such row failed, or the run is still at work.
            KeyboardInterrupt: it was stopped; running the pipeline again goes on with it.
            RunError: it failed.
        """
        only = FailureFilter(steps=(step,) if step else (), errors=(error,) if error else ())
        return self._retry_failures(only)

"""What is left of the last run of a pipeline: its rows so far, its dead letters, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from distilmq.distiset import Distiset
    from distilmq.pipeline.estimate import Estimate
    from distilmq.pipeline.usage import RunUsage


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a pipeline in this process, whether it was finished, stopped or failed."""

    directory: Path
    """With the journal, the log and the dataset; of a dry run it is gone."""
    outcome: Literal["done", "stopped", "failed", "lost"]
    _open_distiset: Callable[[], Distiset] = field(repr=False)
    _read_failures: Callable[[], list[dict[str, Any]]] = field(repr=False)
    _read_usage: Callable[[], RunUsage] = field(repr=False)
    estimate: Estimate | None = None
    """Of a dry run: what a run will take."""

    def distiset(self) -> Distiset:
        """The rows that are recorded: of a run that was stopped or failed, those up to there."""
        return self._open_distiset()

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The dead letters: for each row that made a step raise its `step`, `input`, `error` and `traceback`."""
        return self._read_failures()

    @property
    def usage(self) -> RunUsage:
        """What models took in all starts of this run: requests, tokens and money per step, model and worker."""
        return self._read_usage()

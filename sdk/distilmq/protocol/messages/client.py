"""What clients and the coordinator say to each other."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from distilmq.protocol.messages.values import ErrorInfo, Message, Value
from distilmq.protocol.plan import DatasetSpec
from distilmq.protocol.usage import WorkerUsage


class Submit(Message):
    """A plan to run. One payload frame: the plan, by `plan.encode_plan`."""

    kind: Literal["submit"] = "submit"
    session: str


class Secrets(Message):
    """Secret values of the plan's steps, kept in memory only."""

    kind: Literal["secrets"] = "secrets"
    session: str
    values: dict[str, dict[str, str]] = Field(repr=False)
    """Step to dotted field to value."""


class Accepted(Message):
    """The plan runs."""

    kind: Literal["accepted"] = "accepted"
    run: str
    epoch: int
    resumed: int = 0
    """Batches that were already recorded."""


class Watch(Message):
    """Send `Progress` from now on."""

    kind: Literal["watch"] = "watch"
    session: str


class Control(Message):
    """`stop` drains the run, `kill` ends it at once, `pause` and `resume` hold and release hand-outs, `close`
    ends a coordinator whose run is over and whose rows were fetched."""

    kind: Literal["control"] = "control"
    session: str
    action: Literal["stop", "kill", "pause", "resume", "close"]
    timeout: float | None = None


class StepProgress(Value):
    """What the progress view shows of one step."""

    step: str
    kind: str = "normal"
    stage: int = 0
    state: Literal["waiting", "loading", "running", "stalled", "done", "failed", "reused"] = "waiting"
    batches: int = 0
    """Recorded."""
    known_batches: int = 0
    """Recorded, handed out, or cut and waiting."""
    rows: int = 0
    """Rows out."""
    rows_in: int = 0
    known_rows: int | None = None
    """Rows expected to go in; None while a generator does not know."""
    failed_rows: int = 0
    replicas: int = 0
    ready: int = 0
    note: str = ""
    jobs: int = 0
    """Batch jobs of its models that run at their providers."""
    models: bool = False
    """Calls models; then the next ones say what they took in all, over all starts of the run."""
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_untold: int = 0
    """Requests of which nobody says how many tokens went in: `input_tokens` is without them."""
    output_untold: int = 0
    """Requests of which nobody says how many tokens came out."""
    cost: float | None = None
    """US dollars; None when the price of a request is not known."""


class Progress(Message):
    """The state of the run, at most a few times a second."""

    kind: Literal["progress"] = "progress"
    run: str
    state: Literal["starting", "running", "draining", "paused", "done", "stopped", "failed"]
    stage: int = 0
    stages: int = 1
    stop_in: float | None = None
    """Seconds left until a draining run gives up on what is in flight."""
    waiting_for: int = 0
    """Batches in flight."""
    reason: str = ""
    resumable: bool = False
    """It is paused until somebody resumes it."""
    steps: tuple[StepProgress, ...] = ()


class Fetch(Message):
    """Rows of a step's output, in order: `credit` parts from `cursor` on."""

    kind: Literal["fetch"] = "fetch"
    session: str
    step: str
    cursor: str = ""
    """That of the last `Rows` received; empty for the beginning."""
    credit: int = 8


class Rows(Message):
    """A batch of a fetch, or a part of a large one. One payload frame unless it is only the end."""

    kind: Literal["rows"] = "rows"
    step: str
    cursor: str
    """Where the rows behind these begin."""
    after: str | None = None
    """Where these begin: the cursor of the rows before, so that a gap shows. Coordinators of before 0.2 do not say."""
    rows: int
    last: bool = False
    """The step has nothing (more) behind this."""


class FetchFailures(Message):
    """The dead letters of the run, of all steps or of one."""

    kind: Literal["fetch_failures"] = "fetch_failures"
    session: str
    step: str = ""


class Failures(Message):
    """The dead letters asked for."""

    kind: Literal["failures"] = "failures"
    failures: tuple[dict[str, Any], ...]


class FetchUsage(Message):
    """What models took, in all starts of the run."""

    kind: Literal["fetch_usage"] = "fetch_usage"
    session: str


class UsageReport(Message):
    """The totals asked for, one for each step, model and worker process."""

    kind: Literal["usage_report"] = "usage_report"
    usage: tuple[WorkerUsage, ...]


class Describe(Message):
    """What is the run, and its dataset?"""

    kind: Literal["describe"] = "describe"
    session: str


class Described(Message):
    """The run as its plan says it. One payload frame: `pipeline.yaml`, which is left out of `dataset`."""

    kind: Literal["described"] = "described"
    pipeline: str
    steps: tuple[str, ...]
    leaves: tuple[str, ...]
    dataset: DatasetSpec


class FileInfo(Value):
    """A file that the run has beside its rows."""

    path: str
    """Below the run's folder, with `/` between its parts."""
    size: int


class ListFiles(Message):
    """Which artifacts are there?"""

    kind: Literal["list_files"] = "list_files"
    session: str


class FileList(Message):
    """The artifacts of all steps."""

    kind: Literal["file_list"] = "file_list"
    files: tuple[FileInfo, ...]


class FetchFile(Message):
    """A part of an artifact, from a byte on; of a step process, of a data file of its step, by its digest."""

    kind: Literal["fetch_file"] = "fetch_file"
    session: str
    path: str
    offset: int = 0


class FilePart(Message):
    """One payload frame: bytes of a file; none of them at its end, or when it is not there."""

    kind: Literal["file_part"] = "file_part"
    path: str
    offset: int
    """Of the first of these bytes."""


class Finished(Message):
    """The run is over; its rows can still be fetched until `Control(close)`."""

    kind: Literal["finished"] = "finished"
    outcome: Literal["done", "stopped", "failed"]
    step: str = ""
    error: ErrorInfo | None = None
    loading: bool = False
    """The error came from a step's `load()`."""
    budget: Literal["", "max_cost", "max_tokens"] = ""
    """The bound that the run has reached and was stopped for."""

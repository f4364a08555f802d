"""What clients and a broker say to each other about runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.messages.client import Progress
from distilmq.protocol.messages.values import Message, Value

RunState = Literal["running", "paused", "stopped", "done", "failed"]


class Unmet(Value):
    """Why a need has fewer processes than it wants."""

    need: str
    reason: str
    """For the user: "needs 2 GPUs, and no worker has as many"."""
    refused: bool = False
    """Every worker that is there and that it would fit on has refused it: there is none left to try."""


class RunInfo(Value):
    """A run, as `distilmq runs list` shows it."""

    run: str
    pipeline: str = ""
    state: RunState = "running"
    submitted: float = 0.0
    """Seconds since the epoch."""
    ended: float | None = None
    weight: float = 1.0
    rows: int = 0
    """Of its leaf steps, recorded."""
    processes: int = 0
    """Step processes that it has."""
    reason: str = ""
    """Why it failed, or cannot begin."""
    stopping: bool = False
    """It was told to stop, and finishes what is in work."""


class StartRun(Message):
    """A plan to run. One payload frame: the plan, by `plan.encode_plan`. Saying it again changes nothing."""

    kind: Literal["start_run"] = "start_run"
    session: str
    run: str
    """Its id, chosen by the client."""
    key: str = ""
    """What makes two submissions the same: an unfinished run with the same one is attached to. Empty for none."""
    weight: float = 1.0


class ReviseRun(Message):
    """Failed rows of a run that is over are to be computed again, and what was made from them: in a run of its own.

    Answered by `RunStarted`. Saying it again changes nothing, and one that is under way is not begun a second time.
    """

    kind: Literal["revise_run"] = "revise_run"
    session: str
    run: str
    """The id of the new run, chosen by the client."""
    of: str
    """The run that is revised; it stays as it is."""
    only: FailureFilter = FailureFilter()


class RunStarted(Message):
    """The run is kept, whatever happens to client or broker."""

    kind: Literal["run_started"] = "run_started"
    run: str
    asked: str
    """The id in `StartRun` or `ReviseRun`."""
    attached: bool = False
    """It is an unfinished run of before, not a new one."""
    data: bool = False
    """The data files of its plan are here. A broker of before 0.2 knows of none."""


class DataWanted(Message):
    """Files of the plan are not here: `Upload` them, and say `StartRun` again."""

    kind: Literal["data_wanted"] = "data_wanted"
    run: str
    digests: tuple[str, ...]


class Upload(Message):
    """Bytes of a data file of a run that is to be started. One payload frame: the bytes; none to ask what is there."""

    kind: Literal["upload"] = "upload"
    session: str
    run: str
    digest: str
    """Of the file, see `plan.DataFile`."""
    offset: int = 0
    crc: int = 0
    """CRC-32 of these bytes."""


class Uploaded(Message):
    """So many bytes of a data file are on the broker's disk."""

    kind: Literal["uploaded"] = "uploaded"
    run: str
    digest: str
    size: int


class ListRuns(Message):
    """Which runs are there?"""

    kind: Literal["list_runs"] = "list_runs"
    session: str


class RunList(Message):
    """All runs, the last submitted one first."""

    kind: Literal["run_list"] = "run_list"
    runs: tuple[RunInfo, ...]


class RunWorker(Value):
    """A host that has step processes of a run."""

    worker: str
    host: str = ""
    processes: dict[str, int] = Field(default_factory=dict)
    """Step to how many."""
    gpus: tuple[str, ...] = ()


class Refusal(Value):
    """A host that cannot take part in a run."""

    worker: str
    step: str = ""
    """That it cannot load; empty for all."""
    reason: str = ""


class ShowRun(Message):
    """What is there to say about a run?"""

    kind: Literal["show_run"] = "show_run"
    session: str
    run: str


class RunShown(Message):
    """A run, with its steps and who works on them."""

    kind: Literal["run_shown"] = "run_shown"
    info: RunInfo
    leaves: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The steps that the dataset has a subset for each of, with their columns."""
    progress: Progress | None = None
    workers: tuple[RunWorker, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unmet: tuple[Unmet, ...] = ()


class ControlRun(Message):
    """`stop` drains the run, `kill` ends it at once, `pause` and `resume` hold and release hand-outs (`resume` also
    goes on with a run that was stopped), `remove` forgets a run that is over and frees its space."""

    kind: Literal["control_run"] = "control_run"
    session: str
    run: str
    action: Literal["stop", "kill", "pause", "resume", "remove"]
    timeout: float | None = None


class RunChanged(Message):
    """What was asked of a run is wanted of it from now on, also after a restart."""

    kind: Literal["run_changed"] = "run_changed"
    run: str
    action: Literal["stop", "kill", "pause", "resume", "remove"]


class ReadLog(Message):
    """A part of a run's log, from a byte on."""

    kind: Literal["read_log"] = "read_log"
    session: str
    run: str
    offset: int = 0


class LogPart(Message):
    """One payload frame: whole lines of the log; none of them when there is nothing more yet."""

    kind: Literal["log_part"] = "log_part"
    run: str
    offset: int
    """Where the next part begins."""


class Denied(Message):
    """What a client asked cannot be done: why, and what to do instead. The client stays welcome."""

    kind: Literal["denied"] = "denied"
    reason: str
    fix: str = ""

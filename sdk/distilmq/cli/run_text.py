"""Runs of a broker as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from distilmq.pipeline.progress import Rates, duration, line, shown_state
from distilmq.protocol.messages.client import StepProgress
from distilmq.protocol.messages.runs import RunInfo, RunShown, RunWorker

_ENDED = ("done", "failed", "reused")
_NEXT = {
    "paused": "Go on with it: distilmq runs resume {run}",
    "stopped": "Go on with it: distilmq runs resume {run}",
    "failed": "Try again from there: distilmq runs resume {run}",
}
"""What may be done about a run in such a state."""
_FAILURES = "The rows that failed, and why: distilmq failures list {run} --broker CONNECTION_FILE"
_HEAD = ("RUN", "PIPELINE", "STATE", "ROWS", "PROCESSES", "AGE")


def table(runs: Iterable[RunInfo], now: datetime) -> str:
    """One line for each run, below a head."""
    lines = [_HEAD, *(_cells(info, now) for info in runs)]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in lines
    )


def described(shown: RunShown) -> str:
    """All there is to say about a run, but for the text of its rows."""
    info = shown.info
    why = f" ({info.reason})" if info.reason else ""
    told = [f"Run {info.run} of pipeline '{info.pipeline}': {_state(info)}{why}"]
    told.append(f"Submitted {_time(info.submitted)}" + (f", ended {_time(info.ended)}" if info.ended else ""))
    if shown.progress is not None:
        told += _section("Steps", [_step(info, step) for step in shown.progress.steps])
    elif info.ended is None:
        told.append("It is being started: nothing is known of its steps yet.")
    told += _section("Workers", [_worker(worker) for worker in shown.workers])
    told += _section("Waiting for workers", [f"{unmet.need}: {unmet.reason}" for unmet in shown.unmet])
    told += _section(
        "Refused workers",
        [f"{one.worker}{f', step {one.step!r}' if one.step else ''}: {one.reason}" for one in shown.refusals],
    )
    if shown.progress is not None and any(step.failed_rows for step in shown.progress.steps):
        told.append(_FAILURES.format(run=info.run))
    if info.state in _NEXT:
        told.append(_NEXT[info.state].format(run=info.run))
    return "\n".join(told)


def _state(info: RunInfo) -> str:
    return "stopping" if info.stopping else info.state


def _step(info: RunInfo, step: StepProgress) -> str:
    if info.ended is not None and step.state not in _ENDED:
        # However it was when the run ended: it is no more.
        return line(step, Rates(), 0.0).replace(f"{step.step}: {shown_state(step)}", f"{step.step}: not finished", 1)
    return line(step, Rates(), 0.0)


def _cells(info: RunInfo, now: datetime) -> tuple[str, ...]:
    age = duration(max(0.0, now.timestamp() - info.submitted))
    return info.run, info.pipeline, _state(info), str(info.rows), str(info.processes), age


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"  {entry}" for entry in entries)] if entries else []


def _worker(worker: RunWorker) -> str:
    where = f" on {worker.host}" if worker.host and worker.host != worker.worker else ""
    processes = ", ".join(f"{count} of '{step}'" for step, count in worker.processes.items())
    gpus = f", GPUs {', '.join(worker.gpus)}" if worker.gpus else ""
    return f"{worker.worker}{where}: {processes}{gpus}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")

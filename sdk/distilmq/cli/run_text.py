"""Runs of a broker as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from distilmq.pipeline.progress import Rates, duration, line
from distilmq.protocol.messages.runs import RunInfo, RunShown, RunWorker

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
    told = [
        f"Run {info.run} of pipeline '{info.pipeline}': {info.state}" + (f" ({info.reason})" if info.reason else "")
    ]
    told.append(f"Submitted {_time(info.submitted)}" + (f", ended {_time(info.ended)}" if info.ended else ""))
    steps = () if shown.progress is None else shown.progress.steps
    told += _section("Steps", [line(step, Rates(), 0.0) for step in steps])
    told += _section("Workers", [_worker(worker) for worker in shown.workers])
    told += _section("Waiting for workers", [f"{unmet.need}: {unmet.reason}" for unmet in shown.unmet])
    told += _section(
        "Refused workers",
        [f"{one.worker}{f', step {one.step}' if one.step else ''}: {one.reason}" for one in shown.refusals],
    )
    return "\n".join(told)


def _cells(info: RunInfo, now: datetime) -> tuple[str, ...]:
    age = duration(max(0.0, now.timestamp() - info.submitted))
    return info.run, info.pipeline, info.state, str(info.rows), str(info.processes), age


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"  {entry}" for entry in entries)] if entries else []


def _worker(worker: RunWorker) -> str:
    where = f" on {worker.host}" if worker.host and worker.host != worker.worker else ""
    processes = ", ".join(f"{count} of '{step}'" for step, count in worker.processes.items())
    gpus = f", GPUs {', '.join(worker.gpus)}" if worker.gpus else ""
    return f"{worker.worker}{where}: {processes}{gpus}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")

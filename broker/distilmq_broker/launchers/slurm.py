"""Workers as an array job of Slurm: https://slurm.schedmd.com/sbatch.html."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from distilmq_broker.launchers.worker_command import Size, WorkerCommand

_NUMBERS = "$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID-${SLURM_RESTART_COUNT:-0}"
"""One that is queued again is another worker: the broker may not know yet that the first one has gone."""


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """Workers of one size."""

    command: WorkerCommand
    size: Size
    count: int
    time: str = ""
    """How long each may run, as `sbatch --time` takes it; empty for what the partition allows."""
    notice: int = 120
    """Seconds before that in which it finishes what is in hand."""
    name: str = "slurm"
    """What the names of its workers begin with."""


def slurm_script(job: SlurmJob) -> str:
    """The script that `sbatch` takes."""
    lines = ["#!/bin/bash", *(f"#SBATCH --{option}" for option in _options(job))]
    lines += [
        "",
        "# In the place of this shell, so that Slurm's signals reach the worker: the first SIGTERM lets it finish",
        "# what is in hand.",
        f'exec {shlex.join(job.command.argv())} --name "{job.name}-{_NUMBERS}"',
    ]
    return "\n".join(lines) + "\n"


def _options(job: SlurmJob) -> list[str]:
    options = [
        "job-name=distilmq-worker",
        f"array=1-{job.count}",
        "ntasks=1",
        f"cpus-per-task={job.size.cpus}",
        "output=distilmq-worker-%A_%a.log",
        f"signal=B:TERM@{job.notice}",
    ]
    if job.size.gpus:
        options.append(f"gres=gpu:{job.size.gpus}")
    if job.size.memory:
        options.append(f"mem={job.size.memory}")
    if job.time:
        options.append(f"time={job.time}")
    return options

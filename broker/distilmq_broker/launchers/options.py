"""What several commands of `distilmq launch` take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from distilmq.errors import DistilmqUserError
from distilmq.transport.connection_file import find_connection
from distilmq.utils.option_values import check_form
from distilmq_broker.launchers.worker_command import Size

Connect = Annotated[
    Optional[str],  # noqa: UP045  # typer reads the annotation
    typer.Option(help="A worker's connection file of the broker, readable by you only."),
]
Options = Annotated[
    Optional[list[str]],  # noqa: UP045  # ditto
    typer.Argument(metavar="[-- WORKER OPTIONS]", help="More options of `distilmq worker`, behind `--`."),
]
Program = Annotated[str, typer.Option(help="How distilmq is called there, such as /srv/distilmq/.venv/bin/distilmq.")]
Count = Annotated[int, typer.Option(min=1, help="How many workers.")]
Cpus = Annotated[int, typer.Option(min=1, help="CPUs of each; it runs as many step processes.")]
Gpus = Annotated[int, typer.Option(min=0, help="GPUs of each.")]
Memory = Annotated[str, typer.Option(help="Memory of each, such as 64G.")]
Print = Annotated[bool, typer.Option("--print", help="Print what would be started, and start nothing.")]


def key_of(connect: str | None) -> Path:
    """The connection file for workers.

    Raises:
        DistilmqUserError: there is none that can be used.
    """
    if connect is None:
        raise DistilmqUserError("Say with --connect which connection file the workers shall have")
    find_connection(connect, role="worker", environment={})
    return Path(connect).expanduser().absolute()


def size_of(cpus: int, gpus: int, memory: str) -> Size:
    """The size of a worker.

    Raises:
        DistilmqUserError: the memory is no size.
    """
    check_form(memory, "--memory", r"\d+[KMGT]", "a size, such as 64G")
    return Size(cpus, gpus, memory)


def check_time(time: str) -> None:
    """How long a job of Slurm may run.

    Raises:
        DistilmqUserError: sbatch would not take it.
    """
    check_form(time, "--time", r"\d+(-\d+)?(:\d+){0,2}", "what sbatch takes, such as 4:00:00")


def check_namespace(namespace: str) -> None:
    """Of Kubernetes.

    Raises:
        DistilmqUserError: it is no name of one.
    """
    check_form(namespace, "--namespace", r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a name, such as distilmq")

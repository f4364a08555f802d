"""`distilmq launch`: workers by what people already run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from distilmq.errors import DistilmqUserError
from distilmq.utils.mistakes import told
from distilmq.utils.option_values import check_form
from distilmq_broker.launchers.kubernetes import (
    CONNECTION,
    BrokerSet,
    Manifest,
    WorkerJob,
    as_yaml,
    broker_manifests,
    worker_manifests,
)
from distilmq_broker.launchers.options import (
    Connect,
    Count,
    Cpus,
    Gpus,
    Memory,
    Options,
    Print,
    Program,
    key_of,
    size_of,
)
from distilmq_broker.launchers.slurm import SlurmJob, slurm_script
from distilmq_broker.launchers.ssh import KEY_FILE, run_over_ssh, ssh_argv, start_script, stop_script
from distilmq_broker.launchers.worker_command import Size, WorkerCommand

app = typer.Typer(no_args_is_help=True, help="Start workers by what you already run: Slurm, Kubernetes, SSH.")


@app.command()
def slurm(
    connect: Connect = None,
    count: Count = 1,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = "",
    time: Annotated[str, typer.Option(help="How long each may run, as sbatch takes it, such as 4:00:00.")] = "",
    program: Program = "distilmq",
    print_it: Print = False,
    options: Options = None,
) -> None:
    """Print an array job of workers for `sbatch`: distilmq launch slurm … --print | sbatch.

    The connection file has to be at the same path on the nodes.
    """
    with told():
        _only_printed(print_it, "sbatch")
        path = key_of(connect)
        check_form(time, "--time", r"\d+(-\d+)?(:\d+){0,2}", "what sbatch takes, such as 4:00:00")
        size = size_of(cpus, gpus, memory)
        command = WorkerCommand(program, str(path), tuple(options or ()), size)
        print(slurm_script(SlurmJob(command, size, count, time)), end="")


@app.command()
def kubernetes(
    image: Annotated[str, typer.Option(help="The container image with distilmq, and what the steps need.")],
    broker: Annotated[bool, typer.Option("--broker", help="The broker; else workers for it.")] = False,
    connect: Connect = None,
    namespace: Annotated[str, typer.Option(help="Where all of it goes.")] = "distilmq",
    storage: Annotated[str, typer.Option(help="The size of the broker's disk.")] = "10Gi",
    count: Count = 1,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = "",
    program: Program = "distilmq",
    print_it: Print = False,
    options: Options = None,
) -> None:
    """Print a broker, or workers with their key: distilmq launch kubernetes … --print | kubectl apply -f -.

    What is printed for workers holds their key.
    """
    with told():
        _only_printed(print_it, "kubectl apply -f -")
        check_form(namespace, "--namespace", r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a name, such as distilmq")
        if broker:
            check_form(storage, "--storage", r"\d+[KMGTPE]i?", "a size, such as 10Gi")
            print(as_yaml(broker_manifests(BrokerSet(image, namespace, storage))), end="")
            return
        size = size_of(cpus, gpus, memory)
        command = WorkerCommand(program, CONNECTION, tuple(options or ()), size)
        print(as_yaml(_workers(command, size, count, image, namespace, key_of(connect))), end="")


@app.command()
def ssh(
    hosts: Annotated[
        list[str], typer.Argument(metavar="HOST... [-- WORKER OPTIONS]", help="Machines, as SSH knows them.")
    ],
    connect: Connect = None,
    program: Program = "distilmq",
    stop: Annotated[
        bool, typer.Option("--stop", help="Let the workers there finish what is in hand and leave.")
    ] = False,
    call: Annotated[str, typer.Option("--ssh", help="How to call SSH, such as 'ssh -F my-config'.")] = "ssh",
    print_it: Print = False,
) -> None:
    """Start a worker on each of the machines, or stop it; it goes on when this command ends.

    The connection file goes to `~/.distilmq` there, over the standard input; the worker's log is beside it.
    """
    with told():
        machines, options = _split(hosts)
        path = None if stop else key_of(connect)
        script = stop_script() if stop else start_script(WorkerCommand(program, KEY_FILE, options))
        commands = {machine: ssh_argv(call, machine, script) for machine in machines}
        if print_it:
            for argv in commands.values():
                print(shlex.join(argv) + (f" < {shlex.quote(str(path))}" if path else ""))
            return
        failed = {machine: said for machine, argv in commands.items() if (said := run_over_ssh(argv, path))}
    for machine in machines:
        print(f"{machine}: " + (failed.get(machine) or ("asked to leave" if stop else "started")))
    raise typer.Exit(1 if failed else 0)


def _workers(command: WorkerCommand, size: Size, count: int, image: str, namespace: str, key: Path) -> list[Manifest]:
    return worker_manifests(WorkerJob(command, size, count, image, namespace, key.read_text()))


def _split(words: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Machines, and from the first dash on options of the worker."""
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    if not first:
        raise DistilmqUserError("Name a machine: distilmq launch ssh HOST --connect worker.json")
    return words[:first], tuple(words[first:])


def _only_printed(print_it: bool, reader: str) -> None:
    if not print_it:
        raise DistilmqUserError(f"Nothing is started by itself: add --print, look at it, and pipe it to `{reader}`")

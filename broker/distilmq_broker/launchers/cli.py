"""`distilmq launch`: workers by what people already run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from distilmq.errors import DistilmqUserError
from distilmq.utils.mistakes import told
from distilmq.utils.option_values import check_form, counts
from distilmq.utils.option_values import size as bytes_of
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
    check_namespace,
    check_time,
    key_of,
    size_of,
)
from distilmq_broker.launchers.slurm import SlurmJob, slurm_script
from distilmq_broker.launchers.ssh import KEY_FILE, run_over_ssh, ssh_argv, start_script, stop_script
from distilmq_broker.launchers.worker_command import Size, WorkerCommand

app = typer.Typer(no_args_is_help=True, help="Start workers by what you already run: Slurm, Kubernetes, Ray, SSH.")


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
        check_time(time)
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
        check_namespace(namespace)
        if broker:
            check_form(storage, "--storage", r"\d+[KMGTPE]i?", "a size, such as 10Gi")
            print(as_yaml(broker_manifests(BrokerSet(image, namespace, storage))), end="")
            return
        size = size_of(cpus, gpus, memory)
        command = WorkerCommand(program, CONNECTION, tuple(options or ()), size)
        print(as_yaml(_workers(command, size, count, image, namespace, key_of(connect))), end="")


@app.command()
def ray(
    connect: Connect = None,
    address: Annotated[
        Optional[str],  # noqa: UP045  # typer reads the annotation
        typer.Option(
            help="The Ray cluster, as ray.init takes it; else what RAY_ADDRESS says, or a Ray of this machine."
        ),
    ] = None,
    init: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help='A JSON file with more of what ray.init takes, such as {"runtime_env": …}.'),
    ] = None,
    count: Count = 1,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = "",
    resources: Annotated[
        Optional[list[str]],  # noqa: UP045  # ditto
        typer.Option(help="What of Ray's custom resources each has, such as special=1. Several: a=1,b=2."),
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Let the workers there finish what is in hand and leave.")
    ] = False,
    print_it: Print = False,
    options: Options = None,
) -> None:
    """Have Ray place workers, or stop those that it has; they go on when this command ends.

    Each is an actor with the CPUs, GPUs, memory and resources that are asked for; when its node is lost, it is placed
    again.
    """
    # Here, not above: the other commands need none of it.
    from distilmq_broker.launchers.ray import RayCluster, RayWorker, read_init

    with told():
        text = "" if stop else key_of(connect).read_text()
        size = size_of(cpus, gpus, memory)
        workers = [
            RayWorker(
                f"ray-{os.urandom(3).hex()}",
                cpus=cpus,
                gpus=gpus,
                memory=bytes_of(memory, "--memory") if memory else 0,
                resources=counts(resources or [], "--resources"),
                options=(f"--slots={size.cpus}", *(options or [])),
            )
            for _ in range(count)
        ]
        WorkerCommand("", "", tuple(options or ()))
        if print_it:
            words = shlex.join(["distilmq", "worker", *workers[0].worker_options()])
            print(f"{count} actors, each with {workers[0].asked_of_ray()}: {words}")
            return
        cluster = RayCluster(address, read_init(init))
        try:
            if stop:
                print("\n".join(f"{name}: asked to leave" for name in cluster.let_all_leave()))
                return
            for worker in workers:
                cluster.start(worker, text, stays=True)
                print(f"{worker.name}: started")
        finally:
            cluster.close()


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

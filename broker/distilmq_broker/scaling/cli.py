"""`distilmq launch autoscale`: as many workers as there are batches for, by one of the launchers."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Annotated, Optional

import typer

from distilmq.errors import DistilmqUserError
from distilmq.utils.mistakes import told
from distilmq.utils.option_values import check_form, counts, pairs
from distilmq_broker.launchers.kubernetes import CONNECTION, WorkerJob
from distilmq_broker.launchers.options import (
    Connect,
    Cpus,
    Gpus,
    Memory,
    Options,
    Program,
    check_namespace,
    check_time,
    key_of,
    size_of,
)
from distilmq_broker.scaling.core.policy import ScalingPolicy
from distilmq_broker.scaling.launching.flavor import Flavor

app = typer.Typer(
    no_args_is_help=True,
    help="Start workers while batches wait, and let them go when there is nothing to do, until this command is ended.",
)

_KEPT = 3600
"""Seconds for which a Job of Kubernetes that is over can be looked at."""
_JOIN_WITHIN = 120.0
"""Seconds in which a worker that was started over SSH has joined."""

Broker = Annotated[
    Optional[str],  # noqa: UP045  # typer reads the annotation
    typer.Option("--broker", help="The broker's connection file for clients; else the one DISTILMQ_CONNECTION names."),
]
Least = Annotated[int, typer.Option("--min", min=0, help="How many workers there are at least.")]
Most = Annotated[int, typer.Option("--max", min=1, help="How many there are at most.")]
Idle = Annotated[
    float, typer.Option("--idle-timeout", min=1.0, help="Seconds without anything to do after which one has to leave.")
]
Cooldown = Annotated[float, typer.Option(min=0.0, help="Seconds from one round of launches to the next.")]
Prefix = Annotated[
    str, typer.Option(help="What the names of its workers begin with; another one for each autoscaler of a broker.")
]
Resources = Annotated[
    Optional[list[str]],  # noqa: UP045  # ditto
    typer.Option(help="What else each has, with a count, such as license=2. Several: a=1,b=2."),
]
Labels = Annotated[
    Optional[list[str]],  # noqa: UP045  # ditto
    typer.Option(help="What each is, such as zone=eu. Several: a=b,c=d."),
]
Tied = Annotated[bool, typer.Option("--tied", hidden=True, help="End when the standard input does.")]


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What every launcher is told."""

    prefix: str
    least: int
    most: int
    idle: float
    cooldown: float

    def policy(self, *, join_within: float | None = None, eager: bool = False) -> ScalingPolicy:
        """As the autoscaler takes it."""
        check_form(self.prefix, "--prefix", r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", "a name, such as night-shift")
        return ScalingPolicy(
            self.prefix,
            self.least,
            self.most,
            idle=self.idle,
            cooldown=self.cooldown,
            join_within=join_within,
            eager=eager,
        )


@app.command()
def local(
    broker: Broker = None,
    connect: Connect = None,
    least: Least = 0,
    most: Most = 1,
    idle: Idle = 60.0,
    cooldown: Cooldown = 5.0,
    prefix: Prefix = "auto-local",
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = "",
    resources: Resources = None,
    labels: Labels = None,
    tied: Tied = False,
    options: Options = None,
) -> None:
    """Workers as processes of this machine; they end with this command."""
    # Here and below, not above: nobody shall wait for what another command needs.
    from distilmq_broker.scaling.launching.local import LocalWorkers
    from distilmq_broker.scaling.program import ScalerSettings, run_scaler

    with told():
        policy = _Bounds(prefix, least, most, idle, cooldown).policy()
        flavor = _flavor(cpus, gpus, memory, resources, labels, options)
        text = key_of(connect).read_text()
        run_scaler(ScalerSettings(broker, policy, tied=tied), lambda: LocalWorkers(flavor, text))


@app.command()
def ssh(
    machines: Annotated[list[str], typer.Argument(metavar="HOST...", help="Machines, as SSH knows them.")],
    broker: Broker = None,
    connect: Connect = None,
    least: Least = 0,
    most: Annotated[int, typer.Option("--max", min=0, help="How many there are at most; else one on each.")] = 0,
    idle: Idle = 60.0,
    cooldown: Cooldown = 5.0,
    prefix: Prefix = "auto-ssh",
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = "",
    resources: Resources = None,
    labels: Labels = None,
    program: Program = "distilmq",
    call: Annotated[str, typer.Option("--ssh", help="How to call SSH, such as 'ssh -F my-config'.")] = "ssh",
) -> None:
    """A worker on each of the machines, as long as there is something to do for so many."""
    from distilmq_broker.scaling.launching.ssh import SshWorkers
    from distilmq_broker.scaling.program import ScalerSettings, run_scaler

    with told():
        bounds = _Bounds(prefix, least, min(most or len(machines), len(machines)), idle, cooldown)
        policy = bounds.policy(join_within=_JOIN_WITHIN)
        flavor = _flavor(cpus, gpus, memory, resources, labels, None)
        key = key_of(connect)
        run_scaler(
            ScalerSettings(broker, policy), lambda: SshWorkers(flavor, machines, key, program=program, call=call)
        )


@app.command()
def slurm(
    broker: Broker = None,
    connect: Connect = None,
    least: Least = 0,
    most: Most = 1,
    idle: Idle = 60.0,
    cooldown: Cooldown = 5.0,
    prefix: Prefix = "auto-slurm",
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = "",
    resources: Resources = None,
    labels: Labels = None,
    time: Annotated[str, typer.Option(help="How long each may run, as sbatch takes it, such as 4:00:00.")] = "",
    program: Program = "distilmq",
    call: Annotated[
        str, typer.Option("--sbatch", help="How to call sbatch, such as 'sbatch --partition gpu'.")
    ] = "sbatch",
    options: Options = None,
) -> None:
    """A job of Slurm for each worker. The connection file has to be at the same path on the nodes."""
    from distilmq_broker.scaling.launching.slurm import SlurmWorkers
    from distilmq_broker.scaling.program import ScalerSettings, run_scaler

    with told():
        policy = _Bounds(prefix, least, most, idle, cooldown).policy()
        check_time(time)
        flavor = _flavor(cpus, gpus, memory, resources, labels, options)
        key = str(key_of(connect))
        sbatch = _words("--sbatch", call)
        run_scaler(
            ScalerSettings(broker, policy),
            lambda: SlurmWorkers(flavor, key, program=program, time=time, sbatch=sbatch),
        )


@app.command()
def kubernetes(
    image: Annotated[str, typer.Option(help="The container image with distilmq, and what the steps need.")],
    broker: Broker = None,
    connect: Connect = None,
    least: Least = 0,
    most: Most = 1,
    idle: Idle = 60.0,
    cooldown: Cooldown = 5.0,
    prefix: Prefix = "auto-kubernetes",
    namespace: Annotated[str, typer.Option(help="Where all of it goes.")] = "distilmq",
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = "",
    resources: Resources = None,
    labels: Labels = None,
    program: Program = "distilmq",
    call: Annotated[
        str, typer.Option("--kubectl", help="How to call kubectl, such as 'kubectl --context lab'.")
    ] = "kubectl",
    options: Options = None,
) -> None:
    """A Job of Kubernetes for each worker."""
    from distilmq_broker.scaling.launching.kubernetes import KubernetesWorkers
    from distilmq_broker.scaling.program import ScalerSettings, run_scaler

    with told():
        policy = _Bounds(prefix, least, most, idle, cooldown).policy()
        check_namespace(namespace)
        flavor = _flavor(cpus, gpus, memory, resources, labels, options)
        command = flavor.command(program, CONNECTION)
        job = WorkerJob(command, flavor.size, 1, image, namespace, key_of(connect).read_text(), kept=_KEPT)
        kubectl = _words("--kubectl", call)
        run_scaler(ScalerSettings(broker, policy), lambda: KubernetesWorkers(flavor, job, kubectl=kubectl))


@app.command()
def ray(
    broker: Broker = None,
    connect: Connect = None,
    least: Least = 0,
    most: Most = 1,
    idle: Idle = 60.0,
    cooldown: Cooldown = 5.0,
    prefix: Prefix = "auto-ray",
    address: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(
            help="The Ray cluster, as ray.init takes it; else what RAY_ADDRESS says, or a Ray of this machine."
        ),
    ] = None,
    init: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help="A JSON file with more of what ray.init takes."),
    ] = None,
    eager: Annotated[
        bool, typer.Option("--eager", help="Start all replicas of a step at once, before batches wait for them.")
    ] = False,
    broker_here: Annotated[
        bool,
        typer.Option(
            "--broker-here", help="The broker is on this machine: nodes reach it at the address that Ray has for it."
        ),
    ] = False,
    tied: Tied = False,
    options: Options = None,
) -> None:
    """An actor of Ray for each process, with the CPUs, GPUs, memory and resources that its step asks for.

    They end with this command. Steps ask by StepResources; what Ray has no room for yet is waited for.
    """
    from distilmq_broker.launchers.ray import RayCluster, reached_at, read_init
    from distilmq_broker.scaling.launching.ray import RayWorkers
    from distilmq_broker.scaling.program import ScalerSettings, run_scaler

    def launcher() -> RayWorkers:
        cluster = RayCluster(address, read_init(init))
        there = reached_at(text, cluster.address_of_this_machine()) if broker_here else text
        return RayWorkers(cluster, there, tuple(options or ()))

    with told():
        policy = _Bounds(prefix, least, most, idle, cooldown).policy(eager=eager)
        text = key_of(connect).read_text()
        run_scaler(ScalerSettings(broker, policy, tied=tied), launcher)


def _flavor(
    cpus: int,
    gpus: int,
    memory: str,
    resources: list[str] | None,
    labels: list[str] | None,
    options: list[str] | None,
) -> Flavor:
    return Flavor(
        size_of(cpus, gpus, memory),
        counts(resources or [], "--resources"),
        pairs(labels or [], "--labels"),
        options=tuple(options or ()),
    )


def _words(option: str, call: str) -> list[str]:
    try:
        return shlex.split(call)
    except ValueError as error:
        raise DistilmqUserError(f"{option} {call!r} is no command: {error}") from error

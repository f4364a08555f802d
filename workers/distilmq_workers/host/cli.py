"""`distilmq worker`: this machine's step processes for the runs of a broker."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Annotated, Optional

import typer

from distilmq.errors import DistilmqUserError
from distilmq.protocol.messages.slots import Offer
from distilmq.utils.mistakes import told
from distilmq.utils.option_values import counts, pairs, seconds, several, size
from distilmq_workers.host import offer
from distilmq_workers.host.settings import HostSettings, OnLoss


def worker(
    connect: Annotated[
        str,
        typer.Option(
            help="A connection file of the broker; its address, with DISTILMQ_CONNECTION naming the file; or - for the"
            " text of the file as one line of the standard input, at whose end the worker leaves at once."
        ),
    ],
    steps: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer reads the annotation
        typer.Option(help="Only take these steps, by name. Several: a,b."),
    ] = None,
    slots: Annotated[
        Optional[int],  # noqa: UP045  # ditto
        typer.Option(min=1, help="How many step processes to run at a time; else one for each CPU."),
    ] = None,
    gpus: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help="The GPUs to give to steps, such as 0,1 or none; else all that CUDA_VISIBLE_DEVICES shows."),
    ] = None,
    memory: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help="The memory to give to steps, such as 64G; else all of this machine's."),
    ] = None,
    labels: Annotated[
        Optional[list[str]],  # noqa: UP045  # ditto
        typer.Option(
            help="What this machine is, such as zone=eu. Steps ask by StepResources(labels=…). Several: a=b,c=d."
        ),
    ] = None,
    resources: Annotated[
        Optional[list[str]],  # noqa: UP045  # ditto
        typer.Option(
            help="What else it has, with a count, such as license=2. Steps ask by StepResources(resources=…)."
        ),
    ] = None,
    name: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help="A name for this worker, best its own among all; else made of host and process."),
    ] = None,
    time_limit: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help="After so long take nothing new, finish what is in hand and leave, such as 3500, 58m or 4h."),
    ] = None,
    idle_timeout: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help="Leave after so long without anything to do."),
    ] = None,
    on_broker_lost: Annotated[
        str,
        typer.Option(
            help="When the broker is not heard any more: wait:SECONDS for it, finish what is in hand, or exit."
        ),
    ] = "wait:600",
) -> None:
    """Run steps of the runs of a broker on this machine, until it is ended.

    The first SIGTERM or Ctrl+C finishes what is in hand, the second one ends everything at once.
    """
    # Here, not above: other commands need none of it.
    from distilmq_workers.host.program import run_host

    with told():
        settings = HostSettings(
            worker=name or f"{socket.gethostname()}-{os.getpid()}",
            offer=make_offer(os.environ, slots=slots, gpus=gpus, memory=memory, labels=labels, resources=resources),
            steps=tuple(several(steps or [])),
            time_limit=None if time_limit is None else seconds(time_limit, "--time-limit"),
            idle_timeout=None if idle_timeout is None else seconds(idle_timeout, "--idle-timeout"),
            on_loss=on_loss(on_broker_lost),
        )
        code = run_host(connect, settings)
    raise typer.Exit(code)


def on_loss(text: str) -> OnLoss:
    """What `--on-broker-lost` says.

    Raises:
        DistilmqUserError: it is none of what can be said.
    """
    what, _, how_long = text.partition(":")
    if what == "wait":
        return OnLoss("wait", seconds(how_long or "600", "--on-broker-lost"))
    if text == "finish":
        return OnLoss("finish")
    if text == "exit":
        return OnLoss("exit")
    raise DistilmqUserError(f"--on-broker-lost is wait:SECONDS, finish or exit, not {text!r}")


def make_offer(
    environment: Mapping[str, str],
    *,
    slots: int | None = None,
    gpus: str | None = None,
    memory: str | None = None,
    labels: list[str] | None = None,
    resources: list[str] | None = None,
) -> Offer:
    """What is said of this machine, and where nothing is said, what it has.

    Raises:
        DistilmqUserError: something that is said makes no sense.
    """
    shown = offer.gpus(environment)
    return Offer(
        slots=offer.cpus() if slots is None else slots,
        cpus=offer.cpus(),
        gpus=shown if gpus is None else tuple(gpu for gpu in several([gpus]) if gpu != "none"),
        memory=offer.memory() if memory is None else size(memory, "--memory"),
        resources=counts(resources or [], "--resources"),
        labels=pairs(labels or [], "--labels"),
    )

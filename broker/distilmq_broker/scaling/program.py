"""Putting a scaler together: the line to the broker, the autoscaler, a launcher, and the loop between them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from distilmq.transport.connection_file import find_connection
from distilmq_broker.lifeline import Lifeline
from distilmq_broker.scaling.core.autoscaler import Autoscaler
from distilmq_broker.scaling.core.policy import ScalingPolicy
from distilmq_broker.scaling.line import BrokerLine
from distilmq_broker.scaling.ports import WorkerLauncher
from distilmq_broker.scaling.service import ScalingService


@dataclass(frozen=True, slots=True)
class ScalerSettings:
    """One scaler."""

    broker: str | None
    """A client's connection file; None for the one that DISTILMQ_CONNECTION names."""
    policy: ScalingPolicy
    every: float = 2.0
    """Seconds between looks at the demand."""
    tied: bool = False
    """Whether it ends when its standard input does."""


def run_scaler(settings: ScalerSettings, make_launcher: Callable[[], WorkerLauncher]) -> None:
    """Scales until SIGTERM, Ctrl+C, or the end of its input.

    Raises:
        DistilmqUserError: there is no key that can be used, or the launcher cannot start anything.
    """
    target = find_connection(settings.broker, role="client", environment=os.environ)
    with ExitStack() as stack:
        launcher = make_launcher()
        stack.callback(launcher.close)
        # Behind the launcher: some libraries have signals of their own.
        lifeline = Lifeline(0 if settings.tied else None, interrupt=True)
        stack.callback(lifeline.close)
        line = BrokerLine(target.connect())
        stack.callback(line.close)
        names = _names(settings.policy.prefix)
        autoscaler = Autoscaler(settings.policy, kind_for=launcher.kind_for, new_name=names)
        service = ScalingService(
            autoscaler, launcher=launcher, broker=line, lifeline=lifeline, every=settings.every, tell=_tell
        )
        policy = settings.policy
        print(f"Scales {policy.prefix} between {policy.least} and {policy.most} workers.", flush=True)
        service.run()


def _names(prefix: str) -> Callable[[], str]:
    """Names that no other life of this scaler gives."""
    life, count = os.urandom(3).hex(), 0

    def name() -> str:
        nonlocal count
        count += 1
        return f"{prefix}-{life}-{count}"

    return name


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

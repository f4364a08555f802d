"""The loop of the scaler: it looks at the demand, lets the autoscaler judge, and does what that says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from distilmq.protocol.messages.slots import Need
from distilmq_broker.lifeline import Lifeline
from distilmq_broker.scaling.core.autoscaler import Autoscaler
from distilmq_broker.scaling.core.commands import Cancel, Command, Drain, Launch, TellUnserved
from distilmq_broker.scaling.core.events import DemandSeen, Event, LaunchFailed
from distilmq_broker.scaling.ports import Broker, WorkerLauncher


class ScalingService:
    """Scales until it is told to end.

    Args:
        autoscaler: decides.
        launcher: starts workers.
        broker: tells what runs need.
        lifeline: says when to end.
        every: seconds between looks.
        tell: says to the operator what is done.
    """

    def __init__(
        self,
        autoscaler: Autoscaler,
        *,
        launcher: WorkerLauncher,
        broker: Broker,
        lifeline: Lifeline,
        every: float,
        tell: Callable[[str], None],
    ) -> None:
        self._autoscaler = autoscaler
        self._launcher = launcher
        self._broker = broker
        self._lifeline = lifeline
        self._every = every
        self._tell = tell
        self._heard = True

    def run(self) -> None:
        """Looks again and again.

        Raises:
            DistilmqUserError: the broker does not let us in.
        """
        while True:
            self._look()
            if self._lifeline.cut_within(self._every):
                return

    def _look(self) -> None:
        for name, reason in self._launcher.ended(self._autoscaler.awaited).items():
            self._fail(name, reason)
        demand = self._broker.demand()
        if (demand is not None) != self._heard:
            self._heard = demand is not None
            self._tell("the broker is back" if self._heard else "the broker does not answer: waiting for it")
        if demand is not None:
            self._handle(DemandSeen(demand.needs, demand.hosts))

    def _handle(self, event: Event) -> None:
        self._perform(self._autoscaler.handle(event, time.monotonic()))

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Launch(name, kind):
                    self._tell(f"launching {name}")
                    if reason := self._launcher.start(name, kind):
                        self._fail(name, reason)
                case Cancel(name):
                    self._tell(f"{name} has not joined, and is not wanted any more")
                    self._launcher.cancel(name)
                case Drain(worker):
                    self._tell(f"{worker} is told to leave")
                    self._broker.drain(worker)
                case TellUnserved(run, need):
                    self._tell(f"run {run}: {_asked(need)}, and no worker that is launched here would have it")

    def _fail(self, name: str, reason: str) -> None:
        self._tell(f"{name} did not join: {reason}")
        self._handle(LaunchFailed(name))


def _asked(need: Need) -> str:
    asks = [f"{need.cpus} CPUs"] if need.cpus else []
    asks += [f"{need.gpus} GPUs"] if need.gpus else []
    asks += [f"{need.memory / 2**30:.1f} GiB of memory"] if need.memory else []
    asks += [f"{amount} of the resource {name}" for name, amount in need.resources.items()]
    asks += [f"the label {name}={value}" for name, value in need.labels.items()]
    return f"step {' and '.join(need.steps)} asks for {', '.join(asks) or 'a worker that takes it'}"

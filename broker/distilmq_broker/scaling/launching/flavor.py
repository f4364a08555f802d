"""Workers that are all alike, as the operator describes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from distilmq.protocol.messages.slots import Need, Offer
from distilmq.utils.option_values import size as bytes_of
from distilmq_broker.launchers.worker_command import Size, WorkerCommand
from distilmq_broker.scaling.core.kinds import Kind

UNTOLD = 2**62
"""Bytes of memory of a worker of which nobody has said how many it has: it will tell when it joins."""


@dataclass(frozen=True, slots=True)
class Flavor:
    """One kind of worker."""

    size: Size
    resources: dict[str, int] = field(default_factory=dict[str, int])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    steps: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """More of `distilmq worker`."""

    @property
    def kind(self) -> Kind:
        """What it will offer."""
        size = self.size
        offer = Offer(
            slots=size.cpus,
            cpus=size.cpus,
            gpus=tuple(str(number) for number in range(size.gpus)),
            memory=bytes_of(size.memory, "--memory") if size.memory else UNTOLD,
            resources=self.resources,
            labels=self.labels,
        )
        return Kind(offer, self.steps)

    def kind_for(self, need: Need | None) -> Kind | None:
        """See `ports.WorkerLauncher`."""
        return self.kind if need is None or self.kind.suits(need) else None

    def command(self, program: str, connect: str) -> WorkerCommand:
        """What starts it, but for its name."""
        return WorkerCommand(program, connect, (*kind_options(self.kind), *self.options), self.size)


def kind_options(kind: Kind) -> list[str]:
    """What a worker is told of its resources, labels and steps."""
    options = [f"--resources={name}={amount}" for name, amount in kind.offer.resources.items()]
    options += [f"--labels={name}={value}" for name, value in kind.offer.labels.items()]
    return [*options, *(f"--steps={step}" for step in kind.steps)]

"""What every launcher starts: `distilmq worker`, with what the operator says of it."""

from __future__ import annotations

from dataclasses import dataclass

from distilmq.errors import DistilmqUserError

_OURS = ("--connect", "--name")


@dataclass(frozen=True, slots=True)
class Size:
    """What one worker is given of a machine."""

    cpus: int
    gpus: int = 0
    memory: str = ""
    """Such as 64G, in powers of 1024; empty for what there is."""

    def options(self) -> dict[str, str]:
        """What the worker has to be told of it: it cannot see a share of a machine everywhere."""
        options = {"--slots": str(self.cpus)}
        if self.memory:
            options["--memory"] = self.memory
        if not self.gpus:
            options["--gpus"] = "none"
        return options


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """The command line of a worker.

    Args:
        program: how distilmq is called where the worker runs.
        connect: its connection file there.
        options: more of `distilmq worker`; they go before what follows from the size.
        size: of the worker; None for a machine of its own.

    Raises:
        DistilmqUserError: an option is among them that the launcher gives itself.
    """

    program: str
    connect: str
    options: tuple[str, ...] = ()
    size: Size | None = None

    def __post_init__(self) -> None:
        for name in _OURS:
            if name in self._said:
                raise DistilmqUserError(f"{name} is said to each worker by `distilmq launch` itself: leave it out")

    def argv(self) -> list[str]:
        """Its words."""
        implied = self.size.options() if self.size else {}
        words = [word for name, value in implied.items() if name not in self._said for word in (name, value)]
        return [self.program, "worker", "--connect", self.connect, *words, *self.options]

    @property
    def _said(self) -> set[str]:
        return {word.partition("=")[0] for word in self.options}

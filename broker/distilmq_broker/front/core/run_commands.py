"""What the life of runs asks of the world, in the imperative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distilmq_broker.front.core.records import RunRecord


@dataclass(frozen=True, slots=True)
class SaveRun:
    """Make a record durable."""

    record: RunRecord


@dataclass(frozen=True, slots=True)
class StartCoordinator:
    """Start a process; answer `CoordinatorUp`, and `CoordinatorEnded` one day."""

    run: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class EndCoordinator:
    """Have it leave at once; what is recorded is durable."""

    run: str


@dataclass(frozen=True, slots=True)
class OrderRun:
    """Say to a coordinator what is wanted."""

    run: str
    action: Literal["run", "pause", "stop", "kill", "leave"]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class DeliverMail:
    """Hand a coordinator what was kept while it was not up."""

    run: str


@dataclass(frozen=True, slots=True)
class FreeSlots:
    """A run needs nothing any more."""

    run: str


@dataclass(frozen=True, slots=True)
class RemoveRun:
    """Forget a run and remove what is kept of it."""

    run: str


@dataclass(frozen=True, slots=True)
class Deny:
    """What a client wanted cannot be done."""

    reason: str
    fix: str = ""


Command = SaveRun | StartCoordinator | EndCoordinator | OrderRun | DeliverMail | FreeSlots | RemoveRun | Deny

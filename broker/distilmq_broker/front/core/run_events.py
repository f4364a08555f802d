"""What has happened to submitted runs and their coordinators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distilmq.protocol.messages.runs import RunState
from distilmq_broker.front.core.records import RunRecord

Action = Literal["stop", "kill", "pause", "resume", "remove"]


@dataclass(frozen=True, slots=True)
class RunSubmitted:
    """A plan is kept."""

    record: RunRecord


@dataclass(frozen=True, slots=True)
class CoordinatorUp:
    """A coordinator said Hello."""

    run: str


@dataclass(frozen=True, slots=True)
class CoordinatorEnded:
    """A coordinator's process is no more; `refusal` says that it could not begin, and why."""

    run: str
    reason: str
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class RunTold:
    """A coordinator said where its run stands."""

    run: str
    state: RunState
    reason: str
    idle: bool
    wall: float


@dataclass(frozen=True, slots=True)
class RunAddressed:
    """A client asks something of a run that has no coordinator."""

    run: str


@dataclass(frozen=True, slots=True)
class RunControlled:
    """A client wants something of a run."""

    run: str
    action: Action
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The time that `next_deadline` named has come."""


Event = RunSubmitted | CoordinatorUp | CoordinatorEnded | RunTold | RunAddressed | RunControlled | DeadlineReached

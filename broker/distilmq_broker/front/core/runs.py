"""The life of submitted runs: which coordinators there are to be, and what they are to do.

A run that is not over has a coordinator, started again when it dies. A run that is over gets one when a client asks
about it, which starts nothing and leaves when nobody has asked for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from distilmq_broker.front.core.records import RunRecord, Wish
from distilmq_broker.front.core.run_commands import (
    Command,
    DeliverMail,
    Deny,
    EndCoordinator,
    FreeSlots,
    OrderRun,
    RemoveRun,
    SaveRun,
    StartCoordinator,
)
from distilmq_broker.front.core.run_events import (
    Action,
    CoordinatorEnded,
    CoordinatorUp,
    DeadlineReached,
    Event,
    RunAddressed,
    RunControlled,
    RunSubmitted,
    RunTold,
)

DEATHS = 5
"""Coordinators of one run that may die one after the other, each soon after its start."""
SOON = 30.0
"""Seconds: one that lived longer has not died of its start."""
PAUSE = 0.5
"""Seconds before a coordinator that died is replaced, doubled with every further one."""


_WISHES: dict[str, Wish] = {"stop": "stop", "kill": "kill", "pause": "pause", "resume": "run"}


class Phase(Enum):
    """Where the coordinator of a run is in its life."""

    DOWN = "there is none"
    STARTING = "it has not said Hello yet"
    UP = "it is at work"
    LEAVING = "it was told to leave, and may find that it is needed"
    ENDING = "it ends, whatever it does"


@dataclass(slots=True)
class _Managed:
    record: RunRecord
    phase: Phase = Phase.DOWN
    read_only: bool = False
    since: float = 0.0
    """When its coordinator was started."""
    deaths: int = 0
    start_at: float | None = None
    """When one is to be started in place of one that died."""
    again: bool = False
    """Somebody asked while it was on its way out: another one is to follow it."""
    removed: bool = False


class Runs:
    """All runs that are kept. Decides everything about their coordinators and does nothing itself."""

    def __init__(self, records: Iterable[RunRecord] = ()) -> None:
        self._runs = {record.run: _Managed(record) for record in records}
        self._commands: list[Command] = []

    def start(self, now: float) -> list[Command]:
        """The broker begins: what was not over goes on."""
        for managed in self._runs.values():
            if not managed.record.over:
                self._start(managed, now)
        return self._take()

    def handle(self, event: Event, now: float) -> list[Command]:
        """What follows from an event."""
        match event:
            case RunSubmitted(record):
                managed = self._runs[record.run] = _Managed(record)
                self._commands.append(SaveRun(record))
                self._start(managed, now)
            case DeadlineReached():
                for managed in self._runs.values():
                    if managed.start_at is not None and now >= managed.start_at:
                        self._start(managed, now)
            case _:
                if (managed := self._runs.get(event.run)) is not None:
                    self._handle(managed, event, now)
                elif isinstance(event, RunControlled):
                    self._commands.append(unknown(event.run))
        return self._take()

    def next_deadline(self) -> float | None:
        """When to say `DeadlineReached`."""
        return min((one.start_at for one in self._runs.values() if one.start_at is not None), default=None)

    def records(self) -> list[RunRecord]:
        """All, the last submitted one first."""
        there = [managed.record for managed in self._runs.values() if not managed.removed]
        return sorted(there, key=lambda record: record.submitted, reverse=True)

    def record(self, run: str) -> RunRecord | None:
        """Of one run; None when there is none of that id."""
        managed = self._runs.get(run)
        return None if managed is None or managed.removed else managed.record

    def unfinished(self, key: str) -> RunRecord | None:
        """The last run under a key that is not over."""
        return next((record for record in self.records() if record.key == key and not record.over), None)

    def up(self, run: str) -> bool:
        """Whether messages can be handed to its coordinator now."""
        managed = self._runs.get(run)
        return managed is not None and managed.phase is Phase.UP

    # ------------------------------------------------------------ one run

    def _handle(self, managed: _Managed, event: Event, now: float) -> None:
        match event:
            case CoordinatorUp():
                self._came_up(managed)
            case CoordinatorEnded(reason=reason, refusal=refusal):
                self._ended(managed, reason, now, refusal=refusal)
            case RunTold():
                self._told(managed, event)
            case RunAddressed():
                self._addressed(managed, now)
            case RunControlled(action=action, timeout=timeout):
                self._control(managed, action, timeout, now)
            case _:
                return

    def _came_up(self, managed: _Managed) -> None:
        if managed.phase is not Phase.STARTING:
            return
        managed.phase = Phase.UP
        if not managed.read_only and managed.record.wish != "run":
            self._order(managed, managed.record.wish)
        self._commands.append(DeliverMail(managed.record.run))

    def _told(self, managed: _Managed, told: RunTold) -> None:
        if managed.phase in (Phase.DOWN, Phase.ENDING):
            return
        if not managed.read_only:
            record = managed.record
            ended = record.ended
            if told.state in ("done", "stopped", "failed"):
                ended = ended if record.state == told.state else told.wall
            self._save(managed, state=told.state, reason=told.reason, ended=ended)
        if not told.idle:
            if managed.phase is Phase.LEAVING:
                managed.phase = Phase.UP
                managed.again = False
                self._commands.append(DeliverMail(managed.record.run))
        elif managed.phase is Phase.UP:
            managed.phase = Phase.LEAVING
            self._order(managed, "leave")

    def _addressed(self, managed: _Managed, now: float) -> None:
        if managed.phase is Phase.DOWN:
            if managed.start_at is None:
                self._start(managed, now)
        elif managed.phase in (Phase.LEAVING, Phase.ENDING):
            managed.again = True

    def _ended(self, managed: _Managed, reason: str, now: float, *, refusal: bool) -> None:
        meant = managed.phase in (Phase.LEAVING, Phase.ENDING)
        managed.phase = Phase.DOWN
        if managed.removed:
            self._remove(managed)
            return
        if meant or managed.record.over:
            if managed.again or not managed.record.over:
                self._start(managed, now)
            return
        self._died(managed, reason, now, refusal=refusal)

    def _died(self, managed: _Managed, reason: str, now: float, *, refusal: bool) -> None:
        managed.deaths = 1 if now - managed.since > SOON else managed.deaths + 1
        if refusal or managed.deaths > DEATHS:
            text = reason if refusal else f"its coordinator ends again and again: {reason}"
            self._save(managed, state="failed", reason=text)
            return
        managed.start_at = now + PAUSE * 2.0 ** (managed.deaths - 1)

    def _control(self, managed: _Managed, action: Action, timeout: float | None, now: float) -> None:
        record = managed.record
        if action == "remove":
            self._asked_to_remove(managed)
        elif action == "resume" and record.over:
            self._go_on(managed, now)
        elif record.over:
            self._commands.append(Deny(f"run '{record.run}' {_PAST[record.state]} already"))
        else:
            wish = _WISHES[action]
            self._save(managed, wish=wish)
            if managed.phase is Phase.UP:
                self._order(managed, wish, timeout)

    def _go_on(self, managed: _Managed, now: float) -> None:
        if managed.record.state == "done":
            self._commands.append(Deny(f"run '{managed.record.run}' is done: there is nothing to go on with"))
            return
        managed.deaths = 0
        self._save(managed, wish="run", state="running", reason="", ended=None)
        if managed.phase is Phase.DOWN:
            self._start(managed, now)
        else:
            # It belongs to the run that has ended, or starts nothing.
            self._end(managed)

    def _asked_to_remove(self, managed: _Managed) -> None:
        if not managed.record.over:
            run = managed.record.run
            self._commands.append(Deny(f"run '{run}' is not over", f"stop it first: distilmq runs stop {run}"))
            return
        managed.removed = True
        managed.start_at = None
        if managed.phase is Phase.DOWN:
            self._remove(managed)
        else:
            self._end(managed)

    def _start(self, managed: _Managed, now: float) -> None:
        managed.phase = Phase.STARTING
        managed.read_only = managed.record.over
        managed.since = now
        managed.start_at = None
        managed.again = False
        self._commands.append(StartCoordinator(managed.record.run, managed.read_only))

    def _end(self, managed: _Managed) -> None:
        managed.phase = Phase.ENDING
        self._commands.append(EndCoordinator(managed.record.run))

    def _remove(self, managed: _Managed) -> None:
        del self._runs[managed.record.run]
        self._commands.append(RemoveRun(managed.record.run))

    def _order(
        self, managed: _Managed, action: Literal["run", "pause", "stop", "kill", "leave"], timeout: float | None = None
    ) -> None:
        self._commands.append(OrderRun(managed.record.run, action, timeout))

    def _save(self, managed: _Managed, **changes: object) -> None:
        record = managed.record.model_copy(update=changes)
        if record == managed.record:
            return
        if record.over and not managed.record.over:
            self._commands.append(FreeSlots(record.run))
        managed.record = record
        self._commands.append(SaveRun(record))

    def _take(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands


_PAST = {"done": "is done", "stopped": "is stopped", "failed": "has failed"}


def unknown(run: str) -> Deny:
    """There is no such run."""
    return Deny(f"there is no run '{run}'", "`distilmq runs list` shows those that there are")

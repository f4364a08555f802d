"""Carrying out what the life of runs asks for: records are saved, coordinators started, told and let go."""

from __future__ import annotations

from collections.abc import Iterable

from distilmq.protocol.messages.broker import Order
from distilmq_broker.front.back import Back
from distilmq_broker.front.core.events import RunGone
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
from distilmq_broker.front.core.run_events import CoordinatorEnded, DeadlineReached, Event
from distilmq_broker.front.core.runs import Runs
from distilmq_broker.front.host_desk import HostDesk
from distilmq_broker.front.mailbox import Mailbox
from distilmq_broker.front.run_store import RunStore
from distilmq_broker.front.run_view import RunView
from distilmq_broker.front.secret_store import SecretStore
from distilmq_broker.front.starter import Starter
from distilmq_broker.logbook import Logbook
from distilmq_broker.ports import Clock


class RunKeeper:
    """Ties the life of runs to disk and processes."""

    def __init__(
        self,
        runs: Runs,
        *,
        store: RunStore,
        starter: Starter,
        back: Back,
        hosts: HostDesk,
        mailbox: Mailbox,
        secrets: SecretStore,
        view: RunView,
        clock: Clock,
        log: Logbook,
    ) -> None:
        self.runs = runs
        self._store = store
        self._starter = starter
        self._back = back
        self._hosts = hosts
        self._mailbox = mailbox
        self._secrets = secrets
        self._view = view
        self._clock = clock
        self._log = log
        self._not_started: list[CoordinatorEnded] = []

    def handle(self, event: Event) -> Deny | None:
        """What an event leads to is done; why a client's wish is not, is given back."""
        commands = self.runs.handle(event, self._clock.monotonic())
        self.perform(commands)
        return next((command for command in commands if isinstance(command, Deny)), None)

    def tick(self, now: float) -> None:
        """What does not come as a message: coordinators that ended, deadlines, a disk that takes records again."""
        for ended in self._starter.ended():
            self._log.info("coordinator_ended", run=ended.run, reason=ended.reason)
            self._back.forget(ended.run)
            self.handle(CoordinatorEnded(ended.run, ended.reason, ended.refusal))
        not_started, self._not_started = self._not_started, []
        for event in not_started:
            self.handle(event)
        self._store.flush()
        deadline = self.runs.next_deadline()
        if deadline is not None and now >= deadline:
            self.handle(DeadlineReached())

    def perform(self, commands: Iterable[Command]) -> None:
        """Carries out commands, in order."""
        for command in commands:
            match command:
                case SaveRun(record):
                    self._store.save(record)
                case StartCoordinator(run, read_only):
                    self._start(run, read_only=read_only)
                case EndCoordinator(run):
                    self._back.forget(run)
                    self._starter.end(run)
                case OrderRun(run, action, timeout):
                    self._back.say(run, Order(action=action, timeout=timeout))
                case DeliverMail(run):
                    for peer, role, frames in self._mailbox.take(run):
                        self._back.hand_on(run, peer, role, frames)
                case FreeSlots(run):
                    self._hosts.handle(RunGone(run), self._clock.monotonic())
                case RemoveRun(run):
                    self._secrets.forget(run)
                    self._view.forget(run)
                    self._mailbox.take(run)
                    self._store.remove(run)
                case Deny():
                    self._log.info("denied", reason=command.reason)

    def _start(self, run: str, *, read_only: bool) -> None:
        try:
            pid = self._starter.start(run, read_only=read_only)
        except OSError as error:
            self._log.error("coordinator_not_started", run=run, reason=str(error))
            self._not_started.append(CoordinatorEnded(run, f"it cannot be started: {error}"))
            return
        self._log.info("coordinator_started", run=run, pid=pid, read_only=read_only)

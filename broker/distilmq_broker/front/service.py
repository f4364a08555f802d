"""The broker's loop: messages from outside go to the run that they name, what runs say goes back.

It reads nothing of what it hands on, holds no batch, and decides nothing about any. One thread owns both sockets.
Nothing a peer sends can end the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from distilmq.errors import DistilmqUserError, RemoteProtocolError
from distilmq.protocol import messages
from distilmq.protocol.broker_codec import FROM_COORDINATOR, TO_BROKER
from distilmq.protocol.codec import decode
from distilmq.protocol.messages.broker import (
    CoordinatorHello,
    Granted,
    HostBeat,
    HostHello,
    Needs,
    Order,
    Stored,
    Unfit,
)
from distilmq.transport.addressed import BROKER, split_address
from distilmq.transport.ports import Front, PeerId, Role
from distilmq.transport.refusals import Refusals
from distilmq_broker.core.beats import beat_interval
from distilmq_broker.front import back
from distilmq_broker.front.audience import is_client
from distilmq_broker.front.back import Back
from distilmq_broker.front.core.allocation import Allocation
from distilmq_broker.front.core.events import HostUnfit, NeedsTold, RunGone
from distilmq_broker.front.core.run_commands import (
    Command,
    Deny,
    EndCoordinator,
    FreeSlots,
    OrderRun,
    RemoveRun,
    SaveRun,
    StartCoordinator,
)
from distilmq_broker.front.core.run_events import (
    CoordinatorEnded,
    CoordinatorUp,
    DeadlineReached,
    RunAddressed,
    RunTold,
)
from distilmq_broker.front.core.runs import Runs, unknown
from distilmq_broker.front.folder import BrokerFolder
from distilmq_broker.front.host_desk import HostDesk
from distilmq_broker.front.lending import Lender
from distilmq_broker.front.mailbox import Mailbox
from distilmq_broker.front.run_desk import RunDesk
from distilmq_broker.front.run_store import RunStore
from distilmq_broker.front.run_view import RunView
from distilmq_broker.front.secret_store import SecretStore
from distilmq_broker.front.starter import Starter
from distilmq_broker.front.way import Way
from distilmq_broker.lifeline import Calls
from distilmq_broker.logbook import Logbook
from distilmq_broker.ports import Clock
from distilmq_broker.settings import MAX_MESSAGE

if TYPE_CHECKING:
    from distilmq.protocol.messages import Message

SETTLING = 5.0
"""Seconds after a restart in which hosts come back with what they have, before anything new is granted."""
_AT_ONCE = 256
"""Messages of each side taken before the clock is looked at again."""
_LONGEST_POLL = 1.0


class BrokerService:
    """One broker; it serves until it is told to end."""

    def __init__(
        self,
        *,
        epoch: int,
        folder: BrokerFolder,
        front: Front,
        back: Back,
        starter: Starter,
        allocation: Allocation,
        liveness: float,
        clock: Clock,
        calls: Calls,
        refusals: Refusals,
        log: Logbook,
    ) -> None:
        self._epoch = epoch
        self._front = front
        self._back = back
        self._starter = starter
        self._clock = clock
        self._calls = calls
        self._refusals = refusals
        self._log = log
        self._liveness = liveness
        self._ending = False
        self._dry = True
        """Whether nothing waited at either socket after the last look."""
        self._not_started: list[CoordinatorEnded] = []
        self._store = RunStore(folder.runs, log)
        self._runs = Runs(self._store.load())
        self._way = Way(front, log)
        self._lender = Lender(cautious=epoch > 1)
        self._mailbox = Mailbox()
        self._secrets = SecretStore(folder.secrets_file)
        self._hosts = HostDesk(allocation, way=self._way, tell_run=self._tell_run, log=log)
        self._view = RunView(self._store, self._hosts)
        self._desk = RunDesk(
            self._runs,
            store=self._store,
            folder=folder,
            way=self._way,
            clock=clock,
            perform=self._perform,
            view=self._view,
            log=log,
        )

    def serve(self) -> None:
        """Runs until it is told to end; coordinators are let go then, and runs go on with the next broker."""
        now = self._clock.monotonic()
        self._hosts.start(now)
        self._lender.start(now)
        self._perform(self._runs.start(now))
        while not self._ending:
            self._turn()

    # ------------------------------------------------------------ the loop

    def _turn(self) -> None:
        readable = self._front.poll(self._timeout(), [self._back.fileno(), *self._calls.filenos()])
        for call in self._calls.calls(readable):
            self._ending = self._ending or call != "child_ended"
        self._tick(self._clock.monotonic())
        self._dry = self._receive()

    def _receive(self) -> bool:
        """Takes what waits, for a while; tells whether nothing waits any more."""
        for _ in range(_AT_ONCE):
            taken = self._take_from_front()
            # Last: the back socket only tells of what comes after it was found empty.
            if not self._take_from_back() and not taken:
                return True
        return False

    def _timeout(self) -> float:
        if not self._dry:
            return 0.0
        now = self._clock.monotonic()
        deadlines = (self._runs.next_deadline(), self._hosts.allocation.next_deadline(), now + _LONGEST_POLL)
        return max(0.0, min(deadline for deadline in deadlines if deadline is not None) - now)

    def _tick(self, now: float) -> None:
        for ended in self._starter.ended():
            self._log.info("coordinator_ended", run=ended.run, reason=ended.reason)
            self._back.forget(ended.run)
            self._perform(self._runs.handle(CoordinatorEnded(ended.run, ended.reason, ended.refusal), now))
        not_started, self._not_started = self._not_started, []
        for event in not_started:
            self._perform(self._runs.handle(event, now))
        self._store.flush()
        deadline = self._runs.next_deadline()
        if deadline is not None and now >= deadline:
            self._perform(self._runs.handle(DeadlineReached(), now))
        self._hosts.tick(now)

    def _take_from_front(self) -> bool:
        received = self._front.receive()
        if received is None:
            return False
        peer, role, frames = received
        run, message = split_address(frames)
        if run == BROKER:
            self._take(peer, role, message)
        else:
            self._hand_on(run, peer, role, message)
        return True

    def _take_from_back(self) -> bool:
        received = self._back.receive()
        if received is None:
            return False
        place, (peer, *frames) = received
        if peer == back.BROKER:
            self._take_from_coordinator(place, frames)
        elif (run := self._back.run_of(place)) is not None:
            self._way.hand_on(run, PeerId(peer), frames)
        return True

    # ------------------------------------------------------------ for a run

    def _hand_on(self, run: str, peer: PeerId, role: Role, frames: Sequence[bytes]) -> None:
        record = self._runs.record(run)
        if record is None:
            denied = unknown(run)
            self._way.say(peer, messages.Refused(reason=denied.reason, fix=denied.fix), run=run)
            return
        if self._runs.up(run) and self._back.hand_on(run, peer, role, frames):
            return
        if record.over and not is_client(role, frames):
            # Nobody waits for what it still has.
            self._way.say(peer, messages.Stop(now=True), run=run)
            return
        self._mailbox.put(run, peer, role, frames)
        self._perform(self._runs.handle(RunAddressed(run), self._clock.monotonic()))

    # ------------------------------------------------------------ for the broker

    def _take(self, peer: PeerId, role: Role, frames: Sequence[bytes]) -> None:
        try:
            message, payload = decode(frames, TO_BROKER)
        except RemoteProtocolError as error:
            self._refuse(peer, "broken message", str(error))
            return
        now = self._clock.monotonic()
        match message:
            case messages.Hello(role="client") if role != "worker":
                self._way.say(peer, self._welcome())
            case HostHello() if role != "client":
                self._way.say(peer, self._welcome())
                self._hosts.joined(message, peer, now)
            case HostBeat() if role != "client":
                self._hosts.beaten(message, peer, now)
            case messages.Bye() if role != "client":
                self._hosts.left(message, now)
            case messages.Hello() | HostHello() | HostBeat() | messages.Bye():
                self._refuse(peer, "out of role", f"a {role}'s key does not allow to say {message.kind}")
            case _ if role == "worker":
                self._refuse(peer, "out of role", f"a worker's key does not allow to say {message.kind}")
            case _:
                self._desk.take(message, payload, peer)

    def _refuse(self, peer: PeerId, why: str, reason: str) -> None:
        self._refusals.count(why, reason)
        self._way.say(peer, messages.Refused(reason=reason))

    def _welcome(self) -> messages.Welcome:
        return messages.Welcome(
            run=BROKER,
            epoch=self._epoch,
            heartbeat=beat_interval(len(self._hosts), self._liveness),
            liveness=self._liveness,
            max_message=MAX_MESSAGE,
        )

    # ------------------------------------------------------------ coordinators

    def _take_from_coordinator(self, place: PeerId, frames: Sequence[bytes]) -> None:
        try:
            message, _ = decode(frames, FROM_COORDINATOR)
        except RemoteProtocolError as error:
            # One bad coordinator must not take the runs of all others along.
            self._log.error("coordinator_not_understood", run=self._back.run_of(place), reason=str(error))
            return
        if isinstance(message, CoordinatorHello):
            self._coordinator_up(message, place)
            return
        run = self._back.run_of(place)
        if run is not None:
            self._hear(run, message)

    def _coordinator_up(self, hello: CoordinatorHello, place: PeerId) -> None:
        if hello.pid != self._starter.pid(hello.run):
            # One that an earlier broker has started: it ends by itself.
            return
        self._log.info("coordinator_up", run=hello.run, epoch=hello.epoch, pid=hello.pid)
        self._back.join(hello.run, place)
        self._perform(self._runs.handle(CoordinatorUp(hello.run), self._clock.monotonic()))
        self._tell_secrets(hello.run)
        for peer, role, frames in self._mailbox.take(hello.run):
            self._back.hand_on(hello.run, peer, role, frames)

    def _tell_secrets(self, run: str) -> None:
        record = self._runs.record(run)
        if record is None or record.over:
            return
        try:
            kept = self._secrets.values(record.variables)
        except DistilmqUserError as error:
            self._log.error("secrets_unreadable", reason=str(error))
            kept = {}
        self._back.say(run, Stored(values=kept))
        self._back.say(run, messages.Secrets(session="", values=self._secrets.sent_with(run)))

    def _hear(self, run: str, message: Message) -> None:
        now = self._clock.monotonic()
        match message:
            case Needs():
                self._hear_needs(run, message, now)
            case messages.Borrow():
                self._back.say(run, self._lender.asked(run, message, now))
            case messages.Secrets():
                self._secrets.sent(run, message.values)
            case Unfit():
                for step in message.steps or ("",):
                    self._hosts.handle(HostUnfit(run, message.worker, step, message.reason), now)
            case _:
                return

    def _hear_needs(self, run: str, told: Needs, now: float) -> None:
        before = self._runs.record(run)
        told_of = RunTold(run, told.state, told.reason, told.idle, self._clock.wall())
        self._perform(self._runs.handle(told_of, now))
        record = self._runs.record(run)
        if record is None or before is None:
            return
        if not before.over and told.progress is not None:
            self._view.progressed(record, told.progress)
        if not record.over:
            self._hosts.handle(NeedsTold(run, told.needs, record.weight), now)

    def _tell_run(self, run: str, granted: Granted) -> None:
        self._view.granted(run, granted)
        self._back.say(run, granted)

    def _start(self, run: str, *, read_only: bool) -> None:
        try:
            pid = self._starter.start(run, read_only=read_only)
        except OSError as error:
            self._log.error("coordinator_not_started", run=run, reason=str(error))
            self._not_started.append(CoordinatorEnded(run, f"it cannot be started: {error}"))
            return
        self._log.info("coordinator_started", run=run, pid=pid, read_only=read_only)

    def _perform(self, commands: Iterable[Command]) -> None:
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
                case FreeSlots(run):
                    self._hosts.handle(RunGone(run), self._clock.monotonic())
                case RemoveRun(run):
                    self._secrets.forget(run)
                    self._view.forget(run)
                    self._mailbox.take(run)
                    self._store.remove(run)
                case Deny():
                    self._log.debug("denied", reason=command.reason)

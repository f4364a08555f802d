"""The desk for coordinators: what they say to the broker itself, about their runs."""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.errors import DistilmqUserError, RemoteProtocolError
from distilmq.protocol import messages
from distilmq.protocol.broker_codec import FROM_COORDINATOR
from distilmq.protocol.codec import decode
from distilmq.protocol.messages import Message
from distilmq.protocol.messages.broker import CoordinatorHello, Departed, Needs, Stored, Unfit
from distilmq.transport.ports import PeerId
from distilmq_broker.front.back import Back
from distilmq_broker.front.core.events import HostUnfit, NeedsTold
from distilmq_broker.front.core.run_events import CoordinatorUp, RunTold
from distilmq_broker.front.host_desk import HostDesk
from distilmq_broker.front.keeper import RunKeeper
from distilmq_broker.front.lending import Lender
from distilmq_broker.front.run_view import RunView
from distilmq_broker.front.secret_store import SecretStore
from distilmq_broker.front.starter import Starter
from distilmq_broker.logbook import Logbook
from distilmq_broker.ports import Clock


class CoordinatorDesk:
    """Answers coordinators."""

    def __init__(
        self,
        keeper: RunKeeper,
        *,
        back: Back,
        starter: Starter,
        hosts: HostDesk,
        lender: Lender,
        secrets: SecretStore,
        view: RunView,
        clock: Clock,
        log: Logbook,
    ) -> None:
        self._keeper = keeper
        self._back = back
        self._starter = starter
        self._hosts = hosts
        self._lender = lender
        self._secrets = secrets
        self._view = view
        self._clock = clock
        self._log = log

    def take(self, place: PeerId, frames: Sequence[bytes]) -> None:
        """Deals with one message of a coordinator."""
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
        self._tell_secrets(hello.run)
        self._keeper.handle(CoordinatorUp(hello.run))

    def _tell_secrets(self, run: str) -> None:
        record = self._keeper.runs.record(run)
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
            case Departed():
                self._lender.departed(run, message.session)
            case messages.Secrets():
                self._secrets.sent(run, message.values)
            case Unfit():
                for step in message.steps or ("",):
                    self._hosts.handle(HostUnfit(run, message.worker, step, message.reason), now)
            case _:
                return

    def _hear_needs(self, run: str, told: Needs, now: float) -> None:
        before = self._keeper.runs.record(run)
        told_of = RunTold(run, told.state, told.reason, told.idle, self._clock.wall())
        self._keeper.handle(told_of)
        record = self._keeper.runs.record(run)
        if record is None or before is None:
            return
        if not before.over and told.progress is not None:
            self._view.progressed(record, told.progress)
        if record.over:
            self._lender.over(run)
        else:
            self._hosts.handle(NeedsTold(run, told.needs, record.weight), now)

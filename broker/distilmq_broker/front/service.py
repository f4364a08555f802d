"""The broker's loop: messages from outside go to the run that they name, what runs say goes back.

It reads nothing of what it hands on, holds no batch, and decides nothing about any. One thread owns both sockets.
Nothing a peer sends can end the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.errors import RemoteProtocolError
from distilmq.protocol import messages
from distilmq.protocol.broker_codec import TO_BROKER
from distilmq.protocol.codec import decode
from distilmq.protocol.messages.broker import Granted, HostBeat, HostHello
from distilmq.protocol.messages.slots import DrainHost, ShowDemand
from distilmq.transport.addressed import BROKER, split_token
from distilmq.transport.ports import Front, PeerId, Role
from distilmq.transport.refusals import Refusals
from distilmq_broker.core.beats import beat_interval
from distilmq_broker.front import back as back_door
from distilmq_broker.front.audience import is_client
from distilmq_broker.front.back import Back
from distilmq_broker.front.coordinator_desk import CoordinatorDesk
from distilmq_broker.front.core.allocation import Allocation
from distilmq_broker.front.core.run_events import RunAddressed
from distilmq_broker.front.core.runs import Runs, unknown
from distilmq_broker.front.demand_desk import DemandDesk
from distilmq_broker.front.folder import BrokerFolder
from distilmq_broker.front.host_desk import HostDesk
from distilmq_broker.front.keeper import RunKeeper
from distilmq_broker.front.lending import Lender
from distilmq_broker.front.limit_store import LimitStore
from distilmq_broker.front.mailbox import Mailbox
from distilmq_broker.front.run_desk import RunDesk
from distilmq_broker.front.run_store import RunStore
from distilmq_broker.front.run_tokens import RunTokens
from distilmq_broker.front.run_view import RunView
from distilmq_broker.front.secret_store import SecretStore
from distilmq_broker.front.starter import Starter
from distilmq_broker.front.way import Way
from distilmq_broker.lifeline import Calls
from distilmq_broker.logbook import Logbook
from distilmq_broker.ports import Clock
from distilmq_broker.settings import MAX_MESSAGE

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
        tokens: RunTokens,
        log: Logbook,
    ) -> None:
        self._epoch = epoch
        self._front = front
        self._back = back
        self._clock = clock
        self._calls = calls
        self._refusals = refusals
        self._tokens = tokens
        self._log = log
        self._liveness = liveness
        self._ending = False
        self._dry = True
        """Whether nothing waited at either socket after the last look."""
        store = RunStore(folder.runs, log)
        secrets = SecretStore(folder.secrets_file)
        self._runs = Runs(store.load())
        self._way = Way(front, log)
        self._lender = Lender(LimitStore(folder.limits_file, log), cautious=epoch > 1, log=log)
        self._mailbox = Mailbox()
        self._hosts = HostDesk(allocation, way=self._way, tokens=tokens, tell_run=self._tell_run, log=log)
        self._demand = DemandDesk(self._hosts, self._way)
        self._view = RunView(store, self._hosts)
        self._keeper = RunKeeper(
            self._runs,
            store=store,
            starter=starter,
            back=back,
            hosts=self._hosts,
            mailbox=self._mailbox,
            secrets=secrets,
            view=self._view,
            clock=clock,
            log=log,
        )
        self._coordinators = CoordinatorDesk(
            self._keeper,
            back=back,
            starter=starter,
            hosts=self._hosts,
            lender=self._lender,
            secrets=secrets,
            view=self._view,
            clock=clock,
            log=log,
        )
        self._desk = RunDesk(
            self._keeper, store=store, folder=folder, way=self._way, clock=clock, view=self._view, log=log
        )

    def serve(self) -> None:
        """Runs until it is told to end; coordinators are let go then, and runs go on with the next broker."""
        now = self._clock.monotonic()
        self._hosts.start(now)
        self._lender.start(now)
        self._keeper.perform(self._runs.start(now))
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
        self._keeper.tick(now)
        self._hosts.tick(now)

    def _take_from_front(self) -> bool:
        received = self._front.receive()
        if received is None:
            return False
        peer, role, frames = received
        run, token, message = split_token(frames)
        if run == BROKER:
            self._take(peer, role, message)
        elif role == "worker" and self._runs.record(run) is not None and not self._tokens.opens(run, token):
            self._turn_away(run, peer)
        else:
            self._hand_on(run, peer, role, message)
        return True

    def _take_from_back(self) -> bool:
        received = self._back.receive()
        if received is None:
            return False
        place, (peer, *frames) = received
        if peer == back_door.BROKER:
            self._coordinators.take(place, frames)
        elif (run := self._back.run_of(place)) is not None:
            self._way.hand_on(run, PeerId(peer), frames)
        return True

    # ------------------------------------------------------------ for a run

    def _turn_away(self, run: str, peer: PeerId) -> None:
        """A worker that was given no slot of a run has nothing to say to it."""
        self._refusals.count("another run", f"a worker without a slot of run {run}")
        fix = "Workers are given steps of runs by the broker: see `distilmq worker`."
        self._way.say(
            peer, messages.Refused(reason=f"the broker gave no slot of run '{run}' to this worker", fix=fix), run=run
        )

    def _hand_on(self, run: str, peer: PeerId, role: Role, frames: Sequence[bytes]) -> None:
        record = self._runs.record(run)
        if record is None:
            self._refusals.count("no such run", f"a {role}'s message to {run:.100}")
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
        self._keeper.handle(RunAddressed(run))

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
            case ShowDemand() | DrainHost():
                self._demand.take(message, peer)
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

    def _tell_run(self, run: str, granted: Granted) -> None:
        self._view.granted(run, granted)
        self._back.say(run, granted)

"""The desk for hosts: they offer slots, and are told which of them serve which run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from distilmq.protocol.messages import Bye, Stop, Who
from distilmq.protocol.messages.broker import Grant, Granted, Grants, HostBeat, HostHello
from distilmq.transport.ports import PeerId
from distilmq_broker.front.core.allocation import Allocation
from distilmq_broker.front.core.commands import AskWho, Command, LoseHost, TellHost, TellRun
from distilmq_broker.front.core.events import DeadlineReached, Event, HostBeaten, HostJoined, HostLeft
from distilmq_broker.front.run_tokens import RunTokens
from distilmq_broker.front.way import Way
from distilmq_broker.logbook import Logbook


class HostDesk:
    """Ties the allocation to hosts and runs."""

    def __init__(
        self,
        allocation: Allocation,
        *,
        way: Way,
        tokens: RunTokens,
        tell_run: Callable[[str, Granted], None],
        log: Logbook,
    ) -> None:
        self.allocation = allocation
        self._tokens = tokens
        self._way = way
        self._tell_run = tell_run
        self._log = log
        self._peers: dict[str, PeerId] = {}
        self._hellos: dict[str, HostHello] = {}

    def __len__(self) -> int:
        """How many hosts there are."""
        return len(self._peers)

    def start(self, now: float) -> None:
        """The broker begins."""
        self.allocation.start(now)

    def joined(self, hello: HostHello, peer: PeerId, now: float) -> None:
        """A host said Hello; it has been welcomed."""
        follows = self._followed(hello)
        self._peers[hello.session] = peer
        self._hellos[hello.session] = hello
        self._log.info(
            "host_joined", worker=hello.worker, slots=hello.offer.slots, host=hello.host, grants=len(hello.grants)
        )
        self.handle(
            HostJoined(hello.session, hello.worker, hello.offer, hello.steps, hello.grants, hello.heard, follows), now
        )

    def beaten(self, beat: HostBeat, peer: PeerId, now: float) -> None:
        """A host is alive; one that is not known on this connection is to say Hello."""
        if self._peers.get(beat.session) != peer:
            self._way.say(peer, Who())
            return
        self.handle(HostBeaten(beat.session, beat.grants, beat.heard, beat.leaving), now)

    def left(self, bye: Bye, now: float) -> None:
        """A host is gone by its own will."""
        if self._forget(bye.session):
            self._log.info("host_left", session=bye.session, reason=bye.reason)
            self.handle(HostLeft(bye.session), now)

    def present(self) -> Iterator[tuple[HostHello, Sequence[Grant]]]:
        """The hosts that are there, each with what it has."""
        for session, hello in self._hellos.items():
            yield hello, self.allocation.grants_of(session)

    def drain(self, worker: str) -> None:
        """A host is to finish what it has in hand, and leave."""
        for session, hello in self._hellos.items():
            if hello.worker == worker:
                self._log.info("host_drained", worker=worker)
                self._way.say(self._peers[session], Stop())

    def machine(self, session: str) -> str:
        """The name of the machine that a host is on."""
        hello = self._hellos.get(session)
        return "" if hello is None else hello.host

    def handle(self, event: Event, now: float) -> None:
        """Lets the allocation judge an event, and does what it says."""
        self._perform(self.allocation.handle(event, now))

    def tick(self, now: float) -> None:
        """What does not come as a message."""
        deadline = self.allocation.next_deadline()
        if deadline is not None and now >= deadline:
            self.handle(DeadlineReached(), now)

    def _followed(self, hello: HostHello) -> str:
        """The host under its name that is not connected any more, if there is one: it was killed, and this follows."""
        other = self.allocation.session_named(hello.worker)
        peer = None if other in (None, hello.session) else self._peers.get(other)
        return "" if other is None or peer is None or self._way.say(peer, Who()) else other

    def _named(self, hello: HostHello, worker: str) -> HostHello:
        if hello.worker == worker:
            return hello
        self._log.warning("host_renamed", worker=worker, instead_of=hello.worker)
        return hello.model_copy(update={"worker": worker})

    def _forget(self, session: str) -> bool:
        self._hellos.pop(session, None)
        return self._peers.pop(session, None) is not None

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case TellHost(session, name, grants, worker):
                    if (peer := self._peers.get(session)) is not None:
                        told = tuple(self._with_tokens(grants))
                        self._way.say(peer, Grants(id=name, grants=told, worker=worker))
                        self._hellos[session] = self._named(self._hellos[session], worker)
                case TellRun(run, counts, unmet):
                    self._tell_run(run, Granted(counts=counts, unmet=unmet))
                case AskWho(session):
                    if (peer := self._peers.get(session)) is not None:
                        self._way.say(peer, Who())
                case LoseHost(session, worker):
                    self._log.warning("host_lost", worker=worker)
                    self._forget(session)

    def _with_tokens(self, grants: Iterable[Grant]) -> Iterator[Grant]:
        for grant in grants:
            yield grant.model_copy(update={"token": self._tokens.of(grant.run)})

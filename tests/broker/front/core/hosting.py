"""Hosts that do what an allocation says, over links that lose messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from distilmq.protocol.messages.broker import Grant
from distilmq.protocol.messages.runs import Unmet
from distilmq.protocol.messages.slots import Need, Offer
from distilmq_broker.front.core.allocation import Allocation
from distilmq_broker.front.core.commands import AskWho, Command, LoseHost, TellHost, TellRun
from distilmq_broker.front.core.events import DeadlineReached, Event, HostBeaten, HostJoined, HostLeft

LIVENESS = 10.0


@dataclass
class SomeHost:
    """One worker program: `processes` are those that really run, those that are ending among them."""

    worker: str
    offer: Offer
    session: str
    steps: tuple[str, ...] = ()
    processes: dict[str, Grant] = field(default_factory=dict)
    wanted: tuple[Grant, ...] = ()
    over: list[str] = field(default_factory=list)
    heard: str = ""
    leaving: bool = False
    inbox: deque[Command] = field(default_factory=deque)

    def hello(self, follows: str = "") -> HostJoined:
        return HostJoined(
            self.session, self.worker, self.offer, self.steps, tuple(self.processes.values()), self.heard, follows
        )

    def beat(self) -> HostBeaten:
        return HostBeaten(self.session, tuple(self.processes), self.heard, self.leaving)

    def take(self, command: Command) -> Event | None:
        if isinstance(command, AskWho):
            return self.hello()
        assert isinstance(command, TellHost)
        self.heard, self.wanted, self.worker = command.id, command.grants, command.worker
        named = [grant.id for grant in command.grants]
        self.over = [grant for grant in self.over if grant in named]
        for grant in command.grants if not self.leaving else ():
            if grant.id not in self.over:
                self.processes.setdefault(grant.id, grant)
        return None

    @property
    def ending(self) -> list[str]:
        wanted = [] if self.leaving else [grant.id for grant in self.wanted]
        return [grant for grant in self.processes if grant not in wanted]

    def end(self, grant: str) -> None:
        """A process leaves by its own will."""
        if self.processes.pop(grant, None) is not None:
            self.over.append(grant)

    def check(self) -> None:
        """No more runs here than fits."""
        running = self.processes.values()
        gpus = [gpu for grant in running for gpu in grant.gpus]
        assert len(self.processes) <= self.offer.slots
        assert sum(grant.cpus for grant in running) <= self.offer.cpus
        assert sum(grant.memory for grant in running) <= self.offer.memory
        assert len(gpus) == len(set(gpus))
        assert set(gpus) <= set(self.offer.gpus)
        for name in {name for grant in running for name in grant.resources}:
            assert sum(grant.resources.get(name, 0) for grant in running) <= self.offer.resources.get(name, 0)


class World:
    """An allocation with its hosts; time is what a test says."""

    def __init__(self, *, settling: float = 0.0) -> None:
        self.now = 0.0
        self.lives = 0
        self.hosts: dict[str, SomeHost] = {}
        self.told: dict[str, TellRun] = {}
        self.lost: list[str] = []
        self.sessions = 0
        self.restart(settling=settling)

    def restart(self, *, settling: float) -> None:
        """Another broker, which knows nothing."""
        self.lives += 1
        self.allocation = Allocation(liveness=LIVENESS, settling=settling, name=f"{'abcdefghij'[self.lives % 10]}-")
        self.allocation.start(self.now)
        self.told.clear()

    def join(self, worker: str, offer: Offer, steps: tuple[str, ...] = ()) -> SomeHost:
        """Another host, or a new life of one, whose former connection is closed."""
        self.sessions += 1
        former = self.hosts.get(worker)
        self.hosts[worker] = host = SomeHost(worker, offer, f"s{self.sessions}", steps)
        self.handle(host.hello("" if former is None else former.session))
        return host

    def join_beside(self, former: SomeHost, offer: Offer) -> SomeHost:
        """A host under the name of another one, which is still there."""
        self.sessions += 1
        host = SomeHost(former.worker, offer, f"s{self.sessions}")
        self.hosts[f"beside {former.worker}"] = host
        self.handle(host.hello())
        return host

    def handle(self, event: Event) -> list[Command]:
        """Lets the allocation judge; what it says waits to be delivered."""
        commands = self.allocation.handle(event, self.now)
        for command in commands:
            match command:
                case TellRun():
                    self.told[command.run] = command
                case LoseHost():
                    self.lost.append(command.worker)
                case _:
                    for host in self.hosts.values():
                        if host.session == command.session:
                            host.inbox.append(command)
        return commands

    def deliver(self, host: SomeHost, *, most: int = 1000) -> None:
        """A host takes what has come for it."""
        for _ in range(most):
            if not host.inbox:
                return
            answer = host.take(host.inbox.popleft())
            host.check()
            if answer is not None:
                self.handle(answer)

    def beat(self, host: SomeHost) -> None:
        self.handle(host.beat())

    def leave(self, host: SomeHost) -> None:
        del self.hosts[host.worker]
        self.handle(HostLeft(host.session))

    def pass_time(self, seconds: float) -> None:
        """Turns the clock."""
        until = self.now + seconds
        while (deadline := self.allocation.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.handle(DeadlineReached())
            after = self.allocation.next_deadline()
            assert after is None or after > self.now, "a deadline that has passed is named again"
        self.now = until

    def settle(self, rounds: int = 4, *, apart: float = 1.0) -> None:
        """Everybody beats and obeys, and what is to end ends."""
        for _ in range(rounds):
            for host in list(self.hosts.values()):
                self.deliver(host)
                for grant in host.ending:
                    host.end(grant)
                self.beat(host)
                self.deliver(host)
            self.pass_time(apart)

    def running(self, run: str) -> list[Grant]:
        """What really runs of a run, and is to go on."""
        return [
            grant
            for host in self.hosts.values()
            for name, grant in host.processes.items()
            if grant.run == run and name not in host.ending
        ]

    def needs_of(self, run: str) -> list[str]:
        """The needs that these serve, in order of name."""
        return sorted(grant.need for grant in self.running(run))

    def unmet(self, run: str) -> tuple[Unmet, ...]:
        return self.told[run].unmet


def need(name: str, count: int = 1, **asked: object) -> Need:
    return Need.model_validate({"id": name, "steps": (name,), "count": count, **asked})


def offer(slots: int = 1, *, gpus: Iterable[str] = (), **offered: object) -> Offer:
    return Offer.model_validate({"slots": slots, "cpus": 8, "memory": 100, "gpus": tuple(gpus), **offered})

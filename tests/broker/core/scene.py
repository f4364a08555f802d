"""Small builders for example tests of the core: steps, a coordinator that is staffed, and what it commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distilmq.protocol.messages import Lease
from distilmq.protocol.plan import Plan, ResourceSpec, RouteSpec, RunSettings, StepSpec
from distilmq_broker.core.commands import Command, Record, Send, SendAssign, SendBatch
from distilmq_broker.core.coordinator import Coordinator
from distilmq_broker.core.events import BatchDone, Committed, Event, WorkerBeat, WorkerExited, WorkerJoined, WorkerReady
from distilmq_broker.core.facts import Fact

HOST = "host"


def generator(name: str = "load", *, size: int = 10, **more: Any) -> StepSpec:
    return StepSpec(name=name, kind="generator", size=size, **more)


def step(name: str, *before: str, size: int = 10, replicas: int = 1, **more: Any) -> StepSpec:
    resources = ResourceSpec(replicas=replicas)
    return StepSpec(name=name, kind="normal", size=size, predecessors=before, resources=resources, **more)


def global_step(name: str, *before: str, **more: Any) -> StepSpec:
    return StepSpec(name=name, kind="global", size=50, predecessors=before, **more)


def plan_of(
    *steps: StepSpec, routed: Iterable[str] = (), stages: tuple[tuple[str, ...], ...] = (), **settings: Any
) -> Plan:
    routes = tuple(RouteSpec(step=name) for name in routed)
    return Plan(pipeline="test", steps=steps, routes=routes, stages=stages, settings=RunSettings(**settings))


class Scene:
    """A coordinator and what was said to it; commits follow at once unless `held_commits` is set."""

    def __init__(
        self,
        plan: Plan,
        *,
        facts: Iterable[Fact] = (),
        held_commits: bool = False,
        many_hosts: bool = False,
        lends: bool = True,
        epoch: int = 1,
    ) -> None:
        self.core = Coordinator(plan, epoch=epoch, run="run", many_hosts=many_hosts, lends=lends)
        self.core.restore(facts)
        self.now = 0.0
        self.held_commits = held_commits
        self.facts: list[Fact] = list(facts)
        self.sessions: dict[str, list[str]] = {}
        """Step to the sessions that were assigned to it."""
        self.joined = 0
        self.began = self._settled(self.core.start(self.now))

    def tell(self, event: Event, *, after: float = 0.0) -> list[Command]:
        """An event, some seconds later; what follows from it."""
        self.now += after
        return self._settled(self.core.handle(event, self.now))

    def commit(self) -> list[Command]:
        """All records so far are durable."""
        return self._settled(self.core.handle(Committed(self.core.run.outbox.ticket), self.now))

    def join(self, *, worker: str = HOST, **hello: Any) -> list[Command]:
        """A new step process says Hello."""
        self.joined += 1
        return self.tell(WorkerJoined(f"s{self.joined}", worker, **hello))

    def staff(self) -> list[Command]:
        """Processes for all replicas of the current stage, all loaded."""
        followed: list[Command] = []
        for _ in range(self.core.run.stages.slots() - sum(map(len, self.sessions.values()))):
            followed += self.load(self.join())
        return followed

    def load(self, commands: Iterable[Command]) -> list[Command]:
        """Whoever is assigned in these commands is ready."""
        return [
            after
            for each in commands
            if isinstance(each, SendAssign)
            for after in self.tell(WorkerReady(each.session, each.step))
        ]

    def done(self, order: SendBatch, rows: int = 10, *, session: str = "", **more: Any) -> list[Command]:
        """The result of a batch that was sent."""
        rows_given = [f"{order.lease.step}:{row}" for row in range(rows)]
        return self.tell(BatchDone(session or order.session, order.lease, rows, rows_given, **more))

    def beat(self, session: str, *held: Lease) -> list[Command]:
        """A heartbeat, one second later."""
        return self.tell(WorkerBeat(session, held), after=1.0)

    def dies(self, session: str, *, code: int = -11, output: str = "boom") -> list[Command]:
        """A process dies unexpectedly."""
        return self.tell(WorkerExited(session, code, output))

    def of(self, name: str) -> str:
        """The session of a step with one replica."""
        return self.sessions[name][-1]

    def _settled(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            if isinstance(command, SendAssign):
                self.sessions.setdefault(command.step, []).append(command.session)
            if isinstance(command, Record):
                self.facts.append(command.fact)
        if not self.held_commits and any(isinstance(command, Record) for command in commands):
            return [*commands, *self.commit()]
        return commands


def batches(commands: Iterable[Command], name: str = "") -> list[SendBatch]:
    """The batches sent, of one step or of all."""
    return [each for each in commands if isinstance(each, SendBatch) and (not name or each.lease.step == name)]


def records(commands: Iterable[Command], kind: type = object) -> list[Any]:
    """The facts to be recorded, of one kind or of all."""
    return [each.fact for each in commands if isinstance(each, Record) and isinstance(each.fact, kind)]


def messages(commands: Iterable[Command], kind: type) -> list[tuple[str, Any]]:
    """Session and message of what is sent, of one kind."""
    return [
        (each.session, each.message) for each in commands if isinstance(each, Send) and isinstance(each.message, kind)
    ]


def only(found: list[Any]) -> Any:
    """The one element of a list."""
    assert len(found) == 1, found
    return found[0]

"""A simulated world around the pure core: workers with real rows, a journal, a router, and things that go wrong.

Who acts next is drawn from a seed, so messages of different peers overtake each other in every way; on one
connection they keep their order, as ZeroMQ keeps it. Faults are spent from a budget; once it is used up the
world is kind, and the run must end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from distilmq.protocol.plan import Plan
from distilmq_broker.core import commands, events
from distilmq_broker.core.commands import Command, EndRun, KeepSlots, KillWorker, Record, Route, Send, SendBatch
from distilmq_broker.core.coordinator import Coordinator
from distilmq_broker.core.events import Event
from distilmq_broker.core.facts import BatchRecorded, RowsBuried
from distilmq_broker.core.retaking import retaken
from tests.broker.core.behaviour import Behaviour
from tests.broker.core.invariants import Key, check_invariants
from tests.broker.core.journal import MemoryJournal
from tests.broker.core.worker import Delivery, SimulatedWorker

HOST = "host"
BARE = "bare"
"""A second host, which lacks a package."""
MOST_ACTIONS = 20_000
PATIENCE = 400
"""Ticks without any other action after which the run counts as hanging."""


@dataclass
class Faults:
    """How many of each may still happen."""

    drops: int = 0
    copies: int = 0
    kills: int = 0
    restarts: int = 0
    commit_failures: int = 0
    cuts: int = 0
    """All connections of the host silent for longer than liveness."""
    often: float = 0.02
    """Chance of one at each action."""

    @property
    def left(self) -> list[str]:
        """Kinds that may still happen."""
        kinds = ("drops", "copies", "kills", "restarts", "commit_failures", "cuts")
        return [kind for kind in kinds if getattr(self, kind) > 0]


class World:
    """One run, from start to end."""

    def __init__(
        self, plan: Plan, behaviour: Behaviour, *, seed: int = 0, faults: Faults | None = None, bare: bool = False
    ) -> None:
        self.plan = plan
        self.behaviour = behaviour
        self.faults = faults or Faults()
        self.random = Random(seed)
        self.hosts = [HOST, BARE] if bare else [HOST]
        self.now = 100.0
        self.journal = MemoryJournal(behaviour)
        self.workers: dict[str, SimulatedWorker] = {}
        self.slots = 0
        self.started = 0
        self.ended: EndRun | None = None
        self.to_worker: dict[str, deque[Command | Delivery]] = {}
        self.to_core: dict[str, deque[Event]] = {}
        self.questions: deque[Route] = deque()
        self.epoch = 0
        self.log: list[str] = []
        self.executed: list[Key] = []
        self.refused: list[tuple[str, str]] = []
        """Host and step, as often as it was refused."""
        self.most_asked_ahead = 0
        self._recorded: dict[Key, bool] = {}
        self._choices_made: dict[tuple[str, ...], tuple[str, ...]] | None = None
        self._routed = [route.step for route in plan.routes]
        self._generators = {spec.name: spec.kind == "generator" for spec in plan.steps}
        self.coordinator = self._new_coordinator()

    # ------------------------------------------------------------ running

    def run(self) -> str:
        """Lets everything happen until the run is over; its outcome."""
        quiet = 0
        for action in range(MOST_ACTIONS):
            if self.ended is not None and not self.journal.appended:
                check_invariants(self.coordinator, self._recorded)
                return self.ended.outcome
            quiet = 0 if self.act() else quiet + 1
            assert quiet < PATIENCE, f"the run hangs: {self.describe()}"
            if action % 16 == 0:
                check_invariants(self.coordinator, self._recorded)
        raise AssertionError(f"the run does not end: {self.describe()}")

    def run_until(self, reached: Callable[[], bool]) -> None:
        """Lets things happen until something is true."""
        for _ in range(MOST_ACTIONS):
            if reached():
                return
            self.act()
        raise AssertionError(f"that never happens: {self.describe()}")

    def act(self) -> bool:
        """Lets one thing happen, drawn from all that may; tells whether there was any but the passing of time."""
        choices = self._choices()
        if self.faults.left and self.random.random() < self.faults.often:
            self._fault()
        elif choices and self.random.random() > 0.01:
            self.random.choice(choices)()
        else:
            self.tick()
        return bool(choices)

    def begin_again(self) -> None:
        """The script is run again after the run has ended: new processes over the old journal."""
        self.workers.clear()
        self.slots = 0
        self.restart()

    def revise(self, behaviour: Behaviour) -> None:
        """The batches with failed rows, and what was made from them, are taken again by steps that do otherwise."""
        recorded: dict[str, dict[tuple[int, ...], list[tuple[str, tuple[int, ...]]]]] = {}
        failed: dict[str, list[tuple[int, ...]]] = {}
        for fact in self.journal.facts:
            if isinstance(fact, BatchRecorded):
                above = [(part.step, part.seq_no) for parts in fact.inputs for part in parts]
                recorded.setdefault(fact.step, {}).setdefault(fact.seq_no, []).extend(above)
        for step, batches in recorded.items():
            rows = {number: self.journal.whole(step, number) for number in batches}
            failed[step] = [n for n, values in rows.items() if any(v.startswith(f"{step}:failed:") for v in values)]
        self.journal.forget(retaken(self.plan, recorded, failed))
        self.behaviour = self.journal.behaviour = behaviour
        self._choices_made = None
        self.begin_again()

    def values(self, step: str) -> list[str]:
        """What a step gave, in the order of rows."""
        return self.journal.values(step)

    def choice(self, step: str, values: Sequence[str], successors: Sequence[str]) -> Sequence[str]:
        """Where a batch with these rows was routed to, for the reference."""
        if self._choices_made is None:
            routes = self.journal.routes
            self._choices_made = {
                (name, *self.journal.whole(name, number)): to for (name, number), to in routes.items()
            }
        return self._choices_made[step, *values]

    def describe(self) -> str:
        """Where things stand, for a failing test."""
        steps = [
            f"{s.name}: {s.place.manner} waiting {s.buffer.rows} pending {list(s.leases.pending)} finished {s.finished}"
            for s in self.coordinator.run.flow.steps
        ]
        return "\n".join([*steps, *(str(worker) for worker in self.workers.values()), *self.log[-30:]])

    def say(self, event: Event) -> None:
        """An event reaches the core, and what follows from it happens."""
        self._perform(self.coordinator.handle(event, self.now))

    def _choices(self) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        found += [lambda q=queue, s=session: self._deliver(s, q) for session, queue in self.to_worker.items() if queue]
        found += [lambda q=queue: self.say(q.popleft()) for queue in self.to_core.values() if queue]
        found += [lambda w=w: self._post(w, w.load()) for w in self.workers.values() if w.loading]
        found += [lambda w=w: self._finish(w) for w in self.workers.values() if w.in_hand is not None]
        found += [self.commit] * bool(self.journal.appended)
        found += [self.answer] * bool(self.questions)
        for host in self.hosts:
            there = sum(worker.host == host for worker in self.workers.values())
            found += [lambda h=host: self.start_worker(h)] * (there < self.slots)
        return found

    def _deliver(self, session: str, queue: deque[Command | Delivery]) -> None:
        message = queue.popleft()
        worker = self.workers.get(session)
        if worker is not None:
            self._post(worker, worker.tell(message))
            if worker.left:
                self._exit(worker, 0)

    def _post(self, worker: SimulatedWorker, said: Iterable[Event]) -> None:
        self.to_core.setdefault(worker.session, deque()).extend(said)

    def _finish(self, worker: SimulatedWorker) -> None:
        said = worker.finish()
        if said is None:
            self._exit(worker, -11)
            return
        if not worker.unable:
            self.executed.append(worker.executed[-1])
        self._post(worker, said)
        if worker.left:
            self._exit(worker, 0)

    # ------------------------------------------------------------ the service

    def _perform(self, orders: Iterable[Command]) -> None:
        for order in orders:
            match order:
                case Record():
                    self._record(order)
                case SendBatch():
                    self.to_worker.setdefault(order.session, deque()).append(self._filled(order))
                case Send() | commands.SendAssign():
                    self._check(order)
                    self.to_worker.setdefault(order.session, deque()).append(order)
                case Route():
                    assert self.journal.holds(order.step, order.seq_no)
                    self.questions.append(order)
                case KeepSlots():
                    self.slots = order.count
                case commands.SayPaused():
                    raise AssertionError("no step of a drawn pipeline says how many rows may fail")
                case KillWorker():
                    if (worker := self.workers.get(order.session)) is not None:
                        self._exit(worker, -9)
                case commands.RefuseHost():
                    self.refused.append((order.worker, order.step))
                case EndRun():
                    assert self.ended is None, "a run ends once"
                    self.ended = order

    def _record(self, order: Record) -> None:
        fact = order.fact
        if isinstance(fact, BatchRecorded | RowsBuried):
            key = (fact.step, fact.seq_no, fact.part)
            assert key not in self._recorded, f"recorded twice: {key}"
            self._recorded[key] = True
        self.journal.append(order)

    def _filled(self, order: SendBatch) -> Delivery:
        for _, slices in order.inputs:
            for part in slices:
                committed = self.journal.holds(part.step, part.seq_no)
                assert committed, f"{order.lease} is sent before {part} is committed"
                if part.step in self._routed:
                    assert order.lease.step in self.journal.routes[part.step, part.seq_no]
        return Delivery(order.lease, {name: self.journal.taken(slices) for name, slices in order.inputs}, order.offset)

    def _check(self, order: Command) -> None:
        if isinstance(order, Send) and order.message.__class__.__name__ == "Ack":
            lease = order.message.lease  # type: ignore[attr-defined]  # the line above says so
            known = self._generators.get(lease.step) is not None
            key = (lease.step, lease.seq_no, lease.part)
            assert not known or key in self.journal.rows or key not in self._recorded, f"Ack before commit: {lease}"

    def commit(self) -> None:
        """What is appended becomes durable."""
        self.say(events.Committed(self.journal.commit()))

    def answer(self) -> None:
        """The routing function answers."""
        question = self.questions.popleft()
        values = self.journal.whole(question.step, question.seq_no)
        # Asked again, the function would choose otherwise: only a recorded choice is the same after a restart.
        chosen = self.behaviour.choose(question.step, [*values, str(self.random.random())], question.successors)
        self.say(events.Routed(question.step, question.seq_no, tuple(chosen)))

    def start_worker(self, host: str) -> None:
        """A supervisor fills a slot."""
        self.started += 1
        worker = SimulatedWorker(f"session-{self.started}", self.behaviour, self._generators, host, bare=host == BARE)
        self.workers[worker.session] = worker
        self._post(worker, [worker.hello()])

    def tick(self) -> None:
        """A heartbeat passes: everybody beats."""
        self.now += self.plan.settings.heartbeat
        for host in self.hosts:
            children = tuple(worker.session for worker in self.workers.values() if worker.host == host)
            beat = events.SupervisorBeat(supervisor_of(host), children)
            self.to_core.setdefault(supervisor_of(host), deque()).append(beat)
        for worker in self.workers.values():
            self._post(worker, [worker.beat(), events.BatchesWanted(worker.session, self.random.randint(-1, 6))])
        deadline = self.coordinator.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.say(events.DeadlineReached())

    # ------------------------------------------------------------ what goes wrong

    def _fault(self) -> None:
        kind = self.random.choice(self.faults.left)
        setattr(self.faults, kind, getattr(self.faults, kind) - 1)
        happened = {
            "drops": self.drop,
            "copies": self.copy,
            "kills": self.kill,
            "restarts": self.restart,
            "commit_failures": self.fail_commit,
            "cuts": self.cut,
        }[kind]()
        self.log.append(f"{kind} {happened}")

    def drop(self) -> object:
        """The next message on some connection is lost."""
        queues = [queue for queue in (*self.to_worker.values(), *self.to_core.values()) if queue]
        return self.random.choice(queues).popleft() if queues else None

    def copy(self) -> object:
        """The next message on some connection arrives twice."""
        queues = [queue for queue in (*self.to_worker.values(), *self.to_core.values()) if queue]
        if not queues:
            return None
        queue = self.random.choice(queues)
        if not isinstance(queue[0], Delivery):
            # A transport never delivers a batch twice; the core does send one again, and is tested on that.
            queue.appendleft(queue[0])
        return queue[0]

    def kill(self) -> object:
        """A step process dies."""
        if not self.workers:
            return None
        worker = self.random.choice(list(self.workers.values()))
        self._exit(worker, -9)
        return worker.session

    def _exit(self, worker: SimulatedWorker, code: int) -> None:
        del self.workers[worker.session]
        expected = worker.leaving
        ended = events.WorkerExited(worker.session, code, "last words", expected)
        self.to_core.setdefault(supervisor_of(worker.host), deque()).append(ended)

    def restart(self) -> object:
        """The coordinator is killed; another one goes on where the journal ends, and the workers find it."""
        self.journal.crash()
        self._recorded = dict.fromkeys(self.journal.rows, True)
        self.ended = None
        for queue in (*self.to_worker.values(), *self.to_core.values()):
            queue.clear()
        self.questions.clear()
        self.coordinator = self._new_coordinator()
        for worker in self.random.sample(list(self.workers.values()), len(self.workers)):
            self._post(worker, [worker.hello(), *worker.offers()])
        return self.epoch

    def _new_coordinator(self) -> Coordinator:
        self.epoch += 1
        coordinator = Coordinator(self.plan, epoch=self.epoch, run="run", many_hosts=True)
        facts = list(self.journal.facts)
        self.random.shuffle(facts)
        coordinator.restore(facts)
        self.coordinator = coordinator
        self._perform(coordinator.start(self.now))
        self._say_supervisors()
        return coordinator

    def fail_commit(self) -> object:
        """The disk is full for a while."""
        if self.journal.appended:
            self.say(events.CommitFailed("disk full"))
        return None

    def cut(self) -> object:
        """The host is silent for longer than liveness, then heard again."""
        for queue in (*self.to_worker.values(), *self.to_core.values()):
            queue.clear()
        self.now += self.plan.settings.liveness + 1
        self.say(events.DeadlineReached())
        self._say_supervisors()
        return None

    def _say_supervisors(self) -> None:
        for host in self.hosts:
            self.say(events.SupervisorJoined(supervisor_of(host), host, 1))


def supervisor_of(host: str) -> str:
    """The session of a host's supervisor."""
    return f"supervisor of {host}"

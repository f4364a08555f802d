"""A simulated step process: what it is told, what it holds, what it says; as `distilmq_workers.session` does it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from distilmq.protocol.messages import Ack, Cancel, Drain, ErrorInfo, Lease, RowFailure, Stop, Who
from distilmq_broker.core.commands import Command, Send, SendAssign
from distilmq_broker.core.events import (
    BatchDone,
    BatchReturned,
    Event,
    LoadFailed,
    WorkerBeat,
    WorkerJoined,
    WorkerReady,
)
from tests.broker.core.behaviour import Behaviour

Place = tuple[str, tuple[int, ...], int]
MISSING = ErrorInfo(type="ModuleNotFoundError", message="No module named 'x'")


@dataclass(frozen=True)
class Delivery:
    """A batch with its rows."""

    lease: Lease
    inputs: dict[str, list[str]]
    offset: int


def place(lease: Lease) -> Place:
    """The batch that a lease is of."""
    return lease.step, lease.seq_no, lease.part


@dataclass
class SimulatedWorker:
    """One step process."""

    session: str
    behaviour: Behaviour
    generators: dict[str, bool]
    host: str = "host"
    bare: bool = False
    """Its host lacks a package."""
    unable: bool = False
    """It came to need that."""
    step: str | None = None
    loading: bool = False
    ready: bool = False
    waiting: deque[Delivery] = field(default_factory=deque)
    in_hand: Delivery | None = None
    unacknowledged: dict[Place, BatchDone] = field(default_factory=dict)
    draining: bool = False
    leaving: bool = False
    left: bool = False
    yielded: int | None = None
    """Of a generator: rows given so far; it starts at the offset of its first request."""
    executed: list[Place] = field(default_factory=list)

    @property
    def held(self) -> tuple[Lease, ...]:
        """Batches in hand, waiting, or done and not acknowledged."""
        in_hand = [self.in_hand.lease] if self.in_hand else []
        return (*in_hand, *(d.lease for d in self.waiting), *(done.lease for done in self.unacknowledged.values()))

    def hello(self) -> WorkerJoined:
        """What it says of itself."""
        return WorkerJoined(self.session, self.host, (), self.step, self.ready and not self.unable, self.held)

    def beat(self) -> WorkerBeat:
        """Its heartbeat."""
        return WorkerBeat(self.session, self.held)

    def offers(self) -> list[Event]:
        """What it sends again to a coordinator that it does not know."""
        return [*self.unacknowledged.values(), *self._unable()]

    def load(self) -> list[Event]:
        """`load()` returned."""
        self.loading, self.ready = False, True
        self._begin()
        return [WorkerReady(self.session, self.step or "")]

    def tell(self, command: Command | Delivery) -> list[Event]:
        """Something arrived; what it answers."""
        match command:
            case Delivery():
                return self._on_batch(command)
            case SendAssign() if self.step is None:
                self.step, self.loading = command.step, True
            case Send(message=Who()):
                # The Welcome that follows has it say what it said before.
                return [self.hello(), *self._unable()]
            case Send(message=Ack(lease=lease)):
                self.unacknowledged.pop(place(lease), None)
                self._leave_if_done()
            case Send(message=Cancel(lease=lease)):
                self.waiting = deque(each for each in self.waiting if each.lease != lease)
            case Send(message=Drain()):
                self.draining = True
                return self._give_back()
            case Send(message=Stop(now=now)):
                self.leaving = True
                if now:
                    self.left = True
                    return []
                returned = self._give_back()
                self._leave_if_done()
                return returned
            case _:
                pass
        return []

    def finish(self) -> list[Event] | None:
        """Finishes what is in hand; None if that kills it."""
        assert self.in_hand is not None
        work = self.in_hand
        if self.behaviour.kills(work.inputs):
            return None
        self.in_hand = None
        if self.bare and self.behaviour.needs_package(work.lease.step, work.inputs):
            self.unable = True
            returned = [BatchReturned(self.session, work.lease), *self._give_back()]
            self._leave_if_done()
            return [*self._unable(), *returned]
        self.executed.append(place(work.lease))
        done = self._generate(work) if self.generators[work.lease.step] else self._process(work)
        self.unacknowledged[place(work.lease)] = done
        self._begin()
        self._leave_if_done()
        return [done]

    def _process(self, work: Delivery) -> BatchDone:
        values = self.behaviour.process(work.lease.step, work.inputs)
        failed = [row for row, value in enumerate(values) if ":failed:" in value]
        failures = tuple(RowFailure(row=row, error=ErrorInfo(type="ValueError", message="no")) for row in failed)
        return BatchDone(self.session, work.lease, len(values), values, failures=failures)

    def _generate(self, work: Delivery) -> BatchDone:
        step = work.lease.step
        if self.yielded is None:
            self.yielded = work.offset
        rows = [value for values in self.behaviour.batches(step) for value in values]
        values = rows[self.yielded : self.yielded + self.behaviour.sizes[step]]
        self.yielded += len(values)
        # Some generators say "last" with their last rows, others only when there is nothing more to give.
        says_last = len(rows) % 2 == 0
        last = not values or (says_last and self.yielded >= len(rows))
        return BatchDone(self.session, work.lease, len(values), values, last=last)

    def _on_batch(self, work: Delivery) -> list[Event]:
        offered = self.unacknowledged.get(place(work.lease))
        if offered is not None:
            return [offered]
        if self.unable:
            return [*self._unable(), BatchReturned(self.session, work.lease)]
        if self.draining or self.leaving:
            return [BatchReturned(self.session, work.lease)]
        if any(place(lease) == place(work.lease) for lease in self.held) or work.lease.step != self.step:
            return []
        self.waiting.append(work)
        self._begin()
        return []

    def _begin(self) -> None:
        if self.ready and self.in_hand is None and self.waiting:
            self.in_hand = self.waiting.popleft()

    def _unable(self) -> list[Event]:
        return [LoadFailed(self.session, self.step or "", MISSING)] if self.unable else []

    def _give_back(self) -> list[Event]:
        returned: list[Event] = [BatchReturned(self.session, work.lease) for work in reversed(self.waiting)]
        self.waiting.clear()
        return returned

    def _leave_if_done(self) -> None:
        if self.leaving and self.in_hand is None and not self.unacknowledged:
            self.left = True

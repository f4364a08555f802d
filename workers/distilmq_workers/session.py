"""A step process's side of the conversation, as a pure state machine: events in, commands out.

It keeps every result until the coordinator has acknowledged it, offers what it holds to a coordinator that
does not know it (any more), and hands the user's code one batch at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from distilmq.protocol.messages import (
    Ack,
    Assign,
    Batch,
    Cancel,
    Drain,
    Failed,
    Heartbeat,
    Hello,
    Lease,
    Message,
    Ready,
    Refused,
    Result,
    Returned,
    Stop,
    Versions,
    Welcome,
    Who,
)
from distilmq.protocol.seq_no import SeqNo
from distilmq_workers.events import (
    BeatDue,
    Begin,
    Command,
    Event,
    Finished,
    Leave,
    Loaded,
    LoadStep,
    Post,
    Received,
    Said,
    StopAsking,
)

Work = tuple[Batch, Sequence[bytes]]
Place = tuple[str, SeqNo, int]


def place(lease: Lease) -> Place:
    """The batch that a lease is of."""
    return lease.step, lease.seq_no, lease.part


class Session:
    """One connection of a step process, from Hello to the end."""

    def __init__(self, *, worker: str, session: str, host: str = "", pid: int = 0, versions: Versions) -> None:
        self._worker = worker
        self._session = session
        self._host = host
        self._pid = pid
        self._versions = versions
        self.heartbeat: float | None = None
        """Seconds between beats, once the coordinator has said so."""
        self.max_message: int | None = None
        self._epoch: int | None = None
        self._step: str | None = None
        self._ready = False
        self._waiting: deque[Work] = deque()
        """Batches received and not begun."""
        self._in_hand: Lease | None = None
        self._unacknowledged: dict[Place, tuple[Lease, Message, Sequence[bytes]]] = {}
        """Results sent, kept until their Ack."""
        self._draining = False
        self._leaving = False

    @property
    def held(self) -> tuple[Lease, ...]:
        """Batches in hand, waiting, or done and not acknowledged."""
        in_hand = () if self._in_hand is None else (self._in_hand,)
        waiting = tuple(batch.lease for batch, _ in self._waiting)
        return (*in_hand, *waiting, *(lease for lease, _, _ in self._unacknowledged.values()))

    def hello(self) -> Hello:
        """What this process says of itself."""
        return Hello(
            role="worker",
            worker=self._worker,
            session=self._session,
            step=self._step,
            ready=self._ready,
            held=self.held,
            versions=self._versions,
            host=self._host,
            pid=self._pid,
        )

    def handle(self, event: Event) -> list[Command]:
        """What to do about an event."""
        match event:
            case Received(message=message, payload=payload):
                return self._on_message(message, payload)
            case Loaded():
                return self._on_loaded()
            case Finished():
                return self._on_finished(event)
            case Said(message=message, payload=payload):
                return [Post(message, payload)]
            case BeatDue():
                return [Post(Heartbeat(session=self._session, held=self.held))]

    def _on_message(self, message: Message, payload: Sequence[bytes]) -> list[Command]:
        match message:
            case Batch():
                return self._on_batch(message, payload)
            case Ack(lease=lease):
                self._unacknowledged.pop(place(lease), None)
                return self._leave_if_done()
            case Welcome():
                return self._on_welcome(message)
            case Who():
                return [Post(self.hello())]
            case Assign():
                return self._on_assign(message, payload)
            case Cancel(lease=lease):
                self._waiting = deque(work for work in self._waiting if work[0].lease != lease)
                return []
            case Drain():
                return self._on_drain()
            case Stop(now=now):
                return self._on_stop(now=now)
            case Refused(reason=reason, fix=fix):
                return [Leave(now=True, reason=f"refused: {reason} {fix}".strip())]
            case _:
                return []

    def _on_welcome(self, welcome: Welcome) -> list[Command]:
        self.heartbeat = welcome.heartbeat
        self.max_message = welcome.max_message
        known, self._epoch = self._epoch, welcome.epoch
        if known == welcome.epoch:
            return []
        return [Post(message, payload) for _, message, payload in self._unacknowledged.values()]

    def _on_assign(self, assign: Assign, payload: Sequence[bytes]) -> list[Command]:
        if self._step is not None or not payload:
            return []
        self._step = assign.step
        return [LoadStep(assign, payload[0])]

    def _on_loaded(self) -> list[Command]:
        self._ready = True
        return [Post(Ready(session=self._session, step=self._step or "")), *self._begin_next()]

    def _on_batch(self, batch: Batch, payload: Sequence[bytes]) -> list[Command]:
        if self._draining or self._leaving:
            return [Post(Returned(session=self._session, lease=batch.lease))]
        offered = self._unacknowledged.get(place(batch.lease))
        if offered is not None:
            # Handed out again although it is done: the result was lost on the way, or is still on it.
            return [Post(offered[1], offered[2])]
        if batch.lease == self._in_hand or any(work[0].lease == batch.lease for work in self._waiting):
            return []
        self._waiting.append((batch, payload))
        return self._begin_next()

    def _begin_next(self) -> list[Command]:
        if not self._ready or self._in_hand is not None or not self._waiting:
            return []
        batch, payload = self._waiting.popleft()
        self._in_hand = batch.lease
        return [Begin(batch, payload)]

    def _on_finished(self, event: Finished) -> list[Command]:
        self._in_hand = None
        if isinstance(event.message, Result | Failed):
            self._unacknowledged[place(event.lease)] = (event.lease, event.message, event.payload)
        return [Post(event.message, event.payload), *self._begin_next(), *self._leave_if_done()]

    def _on_drain(self) -> list[Command]:
        self._draining = True
        return [StopAsking(), *self._give_back()]

    def _give_back(self) -> list[Command]:
        """Returns what was not begun, the last first: the coordinator puts each at the front."""
        returned = [Post(Returned(session=self._session, lease=batch.lease)) for batch, _ in reversed(self._waiting)]
        self._waiting.clear()
        return [*returned]

    def _on_stop(self, *, now: bool) -> list[Command]:
        self._leaving = True
        if now:
            return [Leave(now=True)]
        return [*self._give_back(), *self._leave_if_done()]

    def _leave_if_done(self) -> list[Command]:
        if self._leaving and self._in_hand is None and not self._unacknowledged:
            return [Leave()]
        return []

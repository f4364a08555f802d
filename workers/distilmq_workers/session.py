"""One step process's side of the protocol, without I/O: events in, commands out.

A batch is in one of three places: `queue` (not begun), `running` (with the user's code) or `kept` (answered, not
yet acknowledged); all three are `held`. What names a batch is its step, number and part: a hand-out of a batch
that is already in one of the places only renews its lease. An answer is kept until its `Ack` and offered again
after every `Welcome` and, in case it was lost on the way, after a while without an `Ack`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from distilmq.protocol.messages import (
    Ack,
    Answered,
    Assign,
    Batch,
    BatchPart,
    Bye,
    Cancel,
    Drain,
    ErrorInfo,
    Failed,
    FetchPart,
    FilePart,
    Heartbeat,
    Hello,
    JobKept,
    Lease,
    Lend,
    LoadFailed,
    Message,
    PartKept,
    Ready,
    Refused,
    Result,
    Returned,
    Stop,
    Want,
    Welcome,
    Who,
)
from distilmq.protocol.usage import Usage
from distilmq_workers import events
from distilmq_workers.appetite import Appetite
from distilmq_workers.commands import (
    Command,
    Leave,
    LimitMessages,
    LoadStep,
    ReportStall,
    RunBatch,
    Say,
    SendFilesAgain,
    StopAsking,
    TakeJobKept,
    TakeLoan,
    TakeRecorded,
    WriteData,
)
from distilmq_workers.data_fetch import DataFetch
from distilmq_workers.gathering import ASK_AGAIN, ASK_AGAIN_BY_FILE, Gathering
from distilmq_workers.offer import Offer
from distilmq_workers.patience import Patience

HELLO_AGAIN = 5.0
"""Seconds without a Welcome after which Hello is said again."""
ACK_PATIENCE = 3.0
"""Seconds that a process which leaves waits for its last Acks."""
ACK_PATIENCE_BY_FILE = 30.0
"""The same, where its rows go by way of a file system, which may be slow."""

Key = tuple[str, tuple[int, ...], int]


class Phase(Enum):
    """Where the step is."""

    UNASSIGNED = "unassigned"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(slots=True)
class Running:
    """A batch that the user's code is at."""

    lease: Lease
    began: float
    report_at: float
    cancelled: bool = False
    given_up: bool = False
    """The time to drain is over: it went back, and its result counts if it still comes."""

    @property
    def wanted(self) -> bool:
        """Whether the coordinator still counts on this process to do it."""
        return not (self.cancelled or self.given_up)


@dataclass(slots=True)
class Session:
    """The state of one step process."""

    hello: Hello
    """Who this process is; what changes is filled in when it is said."""
    now: float
    """When it began."""
    phase: Phase = Phase.UNASSIGNED
    welcome: Welcome | None = None
    assign: Assign | None = None
    data: DataFetch | None = None
    """What is still to come before the step can be loaded."""
    lanes: int = 1
    appetite: Appetite = field(default_factory=Appetite)
    patience: Patience = field(default_factory=Patience)
    in_jobs: set[Key] = field(default_factory=set[Key])
    """Batches with requests in batch jobs, whose models want to know when they are recorded."""
    queue: dict[Key, tuple[Batch, Sequence[bytes]]] = field(default_factory=dict[Key, tuple[Batch, Sequence[bytes]]])
    gathering: dict[Key, Gathering] = field(default_factory=dict[Key, Gathering])
    """Those in the queue whose rows are not here yet."""
    running: dict[Key, Running] = field(default_factory=dict[Key, Running])
    kept: dict[Key, Offer] = field(default_factory=dict[Key, Offer])
    unable: LoadFailed | None = None
    """Why it does not serve its step: it begins nothing more, and waits to be told to leave."""
    draining: bool = False
    """Nothing new is begun."""
    stopping: bool = False
    """Leaves when nothing is running and everything is acknowledged."""
    left: bool = False
    usage: tuple[Usage, ...] = ()
    """What was had from models so far. Each beat says it again, in case a message about it was lost."""
    _definition: bytes = b""
    _drain_until: float | None = None
    _leave_by: float | None = None
    _beat_at: float = 0.0
    _hello_at: float = 0.0
    _quiet: bool = False
    """New batches are put aside until it leaves: given back at once, they would only come again."""

    # ---------------------------------------------------------------- what is asked of it

    def start(self, now: float) -> list[Command]:
        """Says Hello."""
        return self._say_hello(now)

    def handle(self, event: events.Event, now: float) -> list[Command]:
        """What to do about an event; nothing any more after `Leave`."""
        if self.left:
            return []
        commands = self._judge(event, now)
        commands += self._begin(now)
        commands += self._ask_for_parts(now)
        commands += self._ask_for_more()
        commands += self._maybe_leave(now)
        return commands

    def next_deadline(self) -> float:
        """When to call `handle` with `TimePassed` at the latest."""
        deadlines = [self._hello_at if self.welcome is None else self._beat_at]
        deadlines += [kept.again_at for kept in self.kept.values()]
        deadlines += [running.report_at for running in self.running.values()]
        if not self.draining:
            deadlines += [each.again_at for each in self.gathering.values() if each.again_at is not None]
        deadlines += [] if self.data is None else [self.data.again_at]
        deadlines += [at for at in (self._drain_until, self._leave_by) if at is not None]
        return min(deadlines)

    @property
    def held(self) -> tuple[Lease, ...]:
        """The leases of every batch that is here and still wanted."""
        return (
            *(kept.message.lease for kept in self.kept.values()),
            *(running.lease for running in self.running.values() if running.wanted),
            *(batch.lease for batch, _ in self.queue.values()),
        )

    # ---------------------------------------------------------------- events

    def _judge(self, event: events.Event, now: float) -> list[Command]:
        match event:
            case events.Received(message, payload):
                return self._received(message, payload, now)
            case events.Loaded(_, lanes):
                self.lanes = lanes
                self.phase = Phase.READY
                return [] if self.assign is None else [self._ready(self.assign)]
            case events.LoadRaised(step, error):
                return self._cannot_serve(step, error)
            case events.BatchEnded(answer, payload, lacks):
                told = [] if lacks is None else self._cannot_serve(answer.lease.step, lacks)
                return [*told, *self._ended(answer, payload, now)]
            case events.AnswerCame():
                return self._answered(event)
            case events.JobPlanned(job):
                self.in_jobs.add(_key(job.lease))
                running = self.running.get(_key(job.lease))
                return [self._say(job if running is None else job.model_copy(update={"lease": running.lease}))]
            case events.JobChanged(news):
                return [self._say(news)]
            case events.DemandChanged(limit, unsent):
                self.appetite.demand = (limit, unsent)
                return []
            case events.LoanWanted(borrow):
                return [self._say(borrow)]
            case events.FileSaved(artifact, data):
                return [Say(artifact, [data])]
            case events.Noted(note):
                return [self._say(note)]
            case events.TerminateAsked():
                return self._terminate()
            case events.TimePassed():
                return self._tick(now)

    def _received(self, message: Message, payload: Sequence[bytes], now: float) -> list[Command]:
        match message:
            case Welcome():
                return self._welcomed(message, now)
            case Who():
                return self._say_hello(now)
            case Assign():
                return self._assigned(message, payload, now)
            case FilePart():
                return self._take_data(message, payload, now)
            case Batch(acked=acked):
                recorded = [command for lease in acked for command in self._acknowledged(lease)]
                return [*recorded, *self._handed(message, payload, now)]
            case BatchPart():
                self._take_part(message, payload)
            case Ack(lease=lease):
                return self._acknowledged(lease)
            case PartKept(lease=lease, parts=parts):
                return self._part_kept(lease, parts, now)
            case Lend():
                return [TakeLoan(message)]
            case JobKept():
                return [TakeJobKept(message)]
            case Cancel(lease=lease):
                self._cancel(lease)
            case Drain(timeout=timeout):
                return self._drain(now + timeout)
            case Stop(now=at_once):
                return self._stop(at_once=at_once)
            case Refused():
                return self._leave(unload=True)
            case _:
                pass
        return []

    def _welcomed(self, welcome: Welcome, now: float) -> list[Command]:
        if self.welcome is None or self.welcome.heartbeat != welcome.heartbeat:
            self._beat_at = now + welcome.heartbeat
        offers: list[Command] = [LimitMessages(welcome.max_message, welcome.max_part)]
        for gathering in self.gathering.values():
            if self.welcome is not None and self.welcome.epoch != welcome.epoch:
                gathering.begin_again()
            else:
                gathering.reconnected()
        if self.welcome is not None:
            offers.append(SendFilesAgain())
        self.welcome = welcome
        if self.lanes > 1 and self.assign is not None and self.unable is None:
            # A coordinator that has begun anew knows neither.
            offers.append(self._ready(self.assign))
            self.appetite.said = 0
        for kept in self.kept.values():
            offers += kept.say(now)
        # Behind what it has done: of a generator nothing counts that comes later.
        return offers if self.unable is None else [*offers, self._say(self.unable)]

    def _assigned(self, assign: Assign, payload: Sequence[bytes], now: float) -> list[Command]:
        if self.phase is not Phase.UNASSIGNED:
            # It was sent twice. A process has one step for life, so another one is not for us.
            if self.phase is Phase.READY and self.assign is not None and assign.step == self.assign.step:
                return [self._ready(assign)]
            return []
        self.assign = assign
        self.phase = Phase.LOADING
        self.patience = Patience(max(0.1, assign.stall_after), assign.batch_timeout)
        self._definition = payload[0] if payload else b""
        self.data = DataFetch(assign.data, self._id)
        return self._load_or_ask(assign, self.data, now)

    def _load_or_ask(self, assign: Assign, data: DataFetch, now: float) -> list[Command]:
        if data.done:
            self.data = None
            return [LoadStep(assign, self._definition)]
        return [self._say(data.ask(now))]

    def _take_data(self, part: FilePart, payload: Sequence[bytes], now: float) -> list[Command]:
        content = payload[0] if payload else b""
        if self.assign is None or self.data is None or not self.data.take(part, content):
            return []
        return [WriteData(part.path, part.offset, content), *self._load_or_ask(self.assign, self.data, now)]

    def _handed(self, batch: Batch, payload: Sequence[bytes], now: float) -> list[Command]:
        if self.assign is None or batch.lease.step != self.assign.step:
            return [self._say(Returned(session=self._id, lease=batch.lease))]
        key = _key(batch.lease)
        if (kept := self.kept.get(key)) is not None:
            kept.message = kept.message.model_copy(update={"lease": batch.lease})
            return [*kept.say(now)]
        if (running := self.running.get(key)) is not None:
            running.lease = batch.lease
            running.cancelled = running.given_up = False
            return []
        if self.unable is not None:
            # It was not heard, or not yet.
            return [self._say(self.unable), self._say(Returned(session=self._id, lease=batch.lease))]
        if self.draining and not self._quiet:
            return [self._say(Returned(session=self._id, lease=batch.lease))]
        self._queue(key, batch, payload)
        if batch.jobs:
            self.in_jobs.add(key)
        return []

    def _part_kept(self, lease: Lease, parts: int, now: float) -> list[Command]:
        if (kept := self.kept.get(_key(lease))) is None:
            return []
        # What is being taken is waited for, however long it takes.
        self._leave_by = None
        return [*kept.kept(parts, now)]

    def _queue(self, key: Key, batch: Batch, payload: Sequence[bytes]) -> None:
        if not batch.parts:
            self.gathering.pop(key, None)
        elif key not in self.queue:
            self.gathering[key] = Gathering(batch, payload, wait=ASK_AGAIN_BY_FILE if self._by_file else ASK_AGAIN)
        elif key in self.gathering:
            self.gathering[key].handed_again(batch, payload)
        else:
            # All its rows are here: only the hand-out is another one.
            whole, payload = self.queue[key]
            batch = whole.model_copy(update={"lease": batch.lease})
        self.queue[key] = (batch, payload)

    def _take_part(self, part: BatchPart, payload: Sequence[bytes]) -> None:
        key = _key(part.lease)
        gathering = self.gathering.get(key)
        if gathering is not None and len(payload) == 1 and gathering.take(part, payload[0]):
            self.queue[key] = (gathering.batch, gathering.payload())
            del self.gathering[key]

    def _acknowledged(self, lease: Lease) -> list[Command]:
        """What came of a batch is recorded."""
        key = _key(lease)
        self.kept.pop(key, None)
        if key not in self.in_jobs:
            return []
        self.in_jobs.discard(key)
        return [TakeRecorded(lease)]

    def _cancel(self, lease: Lease) -> None:
        key = _key(lease)
        self.queue.pop(key, None)
        self.gathering.pop(key, None)
        self.kept.pop(key, None)
        if (running := self.running.get(key)) is not None:
            running.cancelled = True

    def _ended(self, answer: Result | Failed | Returned, payload: Sequence[bytes], now: float) -> list[Command]:
        key = _key(answer.lease)
        self.usage = answer.usage or self.usage
        running = self.running.pop(key, None)
        if running is None or running.cancelled:
            return []
        if answer.lease != running.lease:
            answer = answer.model_copy(update={"lease": running.lease})
        if isinstance(answer, Returned):
            return [] if running.given_up else [self._say(answer)]
        most = self.welcome.max_part if self.welcome else 0
        offer = self.kept[key] = Offer(answer, payload, now, max_part=most, apart=self._by_file)
        return [*offer.say(now)]

    def _cannot_serve(self, step: str, error: ErrorInfo) -> list[Command]:
        """Says so first: what it gives back behind that is not handed to it again."""
        if self.unable is not None:
            return []
        self.phase = Phase.FAILED
        self.unable = LoadFailed(session=self._id, step=step, error=error)
        return [self._say(self.unable), *self._give_back_queue()]

    def _answered(self, event: events.AnswerCame) -> list[Command]:
        running = self.running.get(_key(event.lease))
        lease = event.lease if running is None else running.lease
        self.usage = event.usage or self.usage
        self.appetite.answers += 1
        said = Answered(
            session=self._id,
            lease=lease,
            row=event.row,
            key=event.key,
            occurrence=event.occurrence,
            usage=event.usage,
        )
        return [Say(said, [event.answer])]

    def _drain(self, until: float) -> list[Command]:
        self.draining = True
        self._drain_until = until
        return [StopAsking(), *self._give_back_queue()]

    def _stop(self, *, at_once: bool) -> list[Command]:
        if at_once or self.phase is Phase.LOADING:
            return self._leave(unload=False)
        self.draining = self.stopping = True
        return [StopAsking(), *self._give_back_queue()]

    def _terminate(self) -> list[Command]:
        if self._quiet or self.phase is Phase.LOADING:
            return self._leave(unload=False)
        self._quiet = self.draining = self.stopping = True
        return [StopAsking()]

    def _tick(self, now: float) -> list[Command]:
        commands: list[Command] = []
        if self.welcome is None:
            if now >= self._hello_at:
                commands += self._say_hello(now)
        elif now >= self._beat_at:
            self._beat_at = now + self.welcome.heartbeat
            commands.append(self._say(Heartbeat(session=self._id, held=self.held, **self._spent())))
            if self.appetite.said:
                # The one before may be lost, and its loss would show in nothing but speed.
                commands.append(self._say(Want(session=self._id, batches=self.appetite.said)))
        commands += [say for kept in self.kept.values() if now >= kept.again_at for say in kept.say_again(now)]
        if self.data is not None and now >= self.data.again_at:
            commands.append(self._say(self.data.ask(now, waited=True)))
        commands += self._stalls(now)
        if self._drain_until is not None and now >= self._drain_until:
            self._drain_until = None
            commands += self._give_up()
        return commands

    # ---------------------------------------------------------------- parts of the above

    @property
    def _id(self) -> str:
        return self.hello.session

    @property
    def _by_file(self) -> bool:
        """Whether its rows go by way of a file system."""
        return self.assign is not None and self.assign.storage is not None

    def _spent(self) -> dict[str, Any]:
        return {} if self.assign is None or not self.usage else {"step": self.assign.step, "usage": self.usage}

    def _say(self, message: Message) -> Say:
        return Say(message)

    def _ready(self, assign: Assign) -> Say:
        return self._say(Ready(session=self._id, step=assign.step, at_once=self.lanes))

    def _say_hello(self, now: float) -> list[Command]:
        self._hello_at = now + HELLO_AGAIN
        update = {
            "step": None if self.assign is None else self.assign.step,
            "ready": self.phase is Phase.READY,
            "held": self.held,
        }
        return [self._say(self.hello.model_copy(update=update))]

    def _begin(self, now: float) -> list[Command]:
        """Hands batches to the user's code, in the order in which they came."""
        commands: list[Command] = []
        while self.phase is Phase.READY and not self.draining and self.queue and len(self.running) < self.lanes:
            key = next(iter(self.queue))
            if key in self.gathering:
                break
            batch, payload = self.queue.pop(key)
            self.running[key] = Running(batch.lease, now, self.patience.look_at(now, now))
            commands.append(RunBatch(batch, payload))
        return commands

    def _ask_for_parts(self, now: float) -> list[Command]:
        """Asks for the rows of the foremost batch that lacks some: one part at a time is on its way."""
        if self.draining or self.welcome is None or not self.gathering:
            return []
        gathering = next(iter(self.gathering.values()))
        if gathering.again_at is not None and now < gathering.again_at:
            return []
        cursor = gathering.ask(now)
        return [self._say(FetchPart(session=self._id, lease=gathering.batch.lease, cursor=cursor))]

    def _ask_for_more(self) -> list[Command]:
        """Says how many batches it wants to hold, when its models could take more, or have enough."""
        if self.assign is None or self.draining or self.unable is not None or self.queue:
            return []
        wanted = self.appetite.news(size=self.assign.size, running=len(self.running), lanes=self.lanes)
        return [] if wanted is None else [self._say(Want(session=self._id, batches=wanted))]

    def _stalls(self, now: float) -> Iterable[Command]:
        for running in self.running.values():
            if now >= running.report_at:
                running.report_at = self.patience.look_at(running.began, now)
                yield ReportStall(running.lease, now - running.began)

    def _give_back_queue(self) -> list[Command]:
        given: list[Command] = [
            self._say(Returned(session=self._id, lease=batch.lease)) for batch, _ in self.queue.values()
        ]
        self.queue.clear()
        self.gathering.clear()
        return given

    def _give_up(self) -> list[Command]:
        given: list[Command] = []
        for running in self.running.values():
            if running.wanted:
                running.given_up = True
                given.append(self._say(Returned(session=self._id, lease=running.lease)))
        return given

    def _maybe_leave(self, now: float) -> list[Command]:
        if not self.stopping or self.left:
            return []
        if any(running.wanted for running in self.running.values()):
            self._leave_by = None
            return []
        if self.kept:
            if self._leave_by is None:
                self._leave_by = now + (ACK_PATIENCE_BY_FILE if self._by_file else ACK_PATIENCE)
            if now < self._leave_by:
                return []
        # While the user's code is still at a batch that nobody wants any more, `unload` would run beside it.
        return self._leave(unload=not self.running)

    def _leave(self, *, unload: bool) -> list[Command]:
        given = self._give_back_queue()
        self.left = True
        return [*given, self._say(Bye(session=self._id, **self._spent())), Leave(unload=unload)]


def _key(lease: Lease) -> Key:
    return (lease.step, lease.seq_no, lease.part)

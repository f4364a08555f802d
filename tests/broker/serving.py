"""A service over a real socket and a real journal in a thread of the test, and peers to talk to it.

No process is started: the tests are the client and the workers.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from distilmq.protocol import codec, messages
from distilmq.protocol.plan import Plan, RouteSpec, RunSettings, StepSpec, encode_plan
from distilmq.protocol.rows import decode_rows, encode_rows, join_bodies
from distilmq.protocol.seq_no import SeqNo
from distilmq.transport.addressed import Addressed
from distilmq.transport.open_front import OpenFront
from distilmq.transport.ports import Connection
from distilmq.transport.zeromq import connect, listen
from distilmq_broker.adapters.routing_process import RoutingProcess
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.adapters.system_clock import SystemClock
from distilmq_broker.crash_points import CrashPoints
from distilmq_broker.lifeline import Call
from distilmq_broker.logbook import open_logbook
from distilmq_broker.mind import RunMind
from distilmq_broker.ports import Mind
from distilmq_broker.run_folder import RunFolder
from distilmq_broker.service import Service
from distilmq_broker.settings import MAX_PART
from distilmq_broker.slots import SlotKeeper

M = TypeVar("M", bound=messages.Message)
PATIENCE = 60.0


class NoLauncher:
    """Starts nothing; remembers what it was asked, and reports the ends that a test puts into it."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ends: list[tuple[str, int]] = []
        self.running = False
        self.stopped = False

    def start(self, slots: int) -> str:
        """Gives the name that a supervisor would have."""
        self.started.append(slots)
        return f"host-{len(self.started)}"

    def exited(self) -> Iterable[tuple[str, int]]:
        """Each end once."""
        ends, self.ends = self.ends, []
        return ends

    def stop(self, *, now: bool) -> None:
        """Nothing is to be stopped."""
        self.stopped = True


class Switchboard:
    """Calls from outside, put through by the test."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._waiting: list[Call] = []

    def call(self, call: Call) -> None:
        """Puts a call through."""
        self._waiting.append(call)
        os.write(self._write, b"x")

    def filenos(self) -> list[int]:
        """Readable when there is a call."""
        return [self._read]

    def calls(self, readable: set[int]) -> list[Call]:
        """What was put through."""
        if self._read in readable:
            os.read(self._read, 100)
        calls, self._waiting = self._waiting, []
        return calls

    def close(self) -> None:
        """Closes the pipe."""
        os.close(self._read)
        os.close(self._write)


@dataclass
class Serving:
    """A service that runs."""

    folder: Path
    endpoint: str
    launcher: NoLauncher = field(default_factory=NoLauncher)
    switchboard: Switchboard = field(default_factory=Switchboard)
    error: BaseException | None = None
    thread: threading.Thread | None = None
    service: Service | None = None

    @property
    def log(self) -> str:
        """The run's log."""
        return (self.folder / "pipeline.log").read_text()


@contextmanager
def serving(
    folder: Path, *, mind: Callable[..., Mind] = RunMind, max_part: int = MAX_PART, **journal_options: Any
) -> Iterator[Serving]:
    """Runs a service until the block ends; whatever it raised is raised here."""
    server = Serving(folder, f"ipc:///tmp/distilmq-test-{uuid.uuid4().hex[:8]}")
    started = threading.Event()
    server.thread = threading.Thread(
        target=_serve, args=(server, started, mind, max_part, journal_options), name="service"
    )
    server.thread.start()
    assert started.wait(PATIENCE)
    try:
        yield server
    finally:
        server.switchboard.call("terminate")
        server.switchboard.call("terminate")
        server.thread.join(PATIENCE)
        server.switchboard.close()
    if server.error is not None:
        raise server.error


def _serve(
    server: Serving,
    started: threading.Event,
    mind: Callable[..., Mind],
    max_part: int,
    journal_options: dict[str, Any],
) -> None:
    try:
        folder = RunFolder(server.folder)
        folder.make()
        log = open_logbook(folder.log_file, run=server.folder.name)
        log.set_level("debug")
        clock = SystemClock()
        journal = SqliteJournal(server.folder, clock=clock, **journal_options)
        listener = listen(server.endpoint)

        def prepare(plan: Plan) -> list[messages.Note]:
            journal.note_steps(plan.steps)
            return []

        server.service = Service(
            run_id=server.folder.name,
            folder=folder,
            front=OpenFront(listener),
            journal=journal,
            clock=clock,
            calls=server.switchboard,
            make_mind=lambda plan: mind(plan, epoch=journal.epoch, run=server.folder.name),
            make_slots=lambda plan, post: SlotKeeper(server.launcher, post, log),
            make_router=lambda plan: RoutingProcess(plan.routes, output=folder.workers_log),
            prepare=prepare,
            crash=CrashPoints(),
            log=log,
            max_part=max_part,
        )
        started.set()
        try:
            server.service.serve()
        finally:
            server.service.close()
            listener.close()
            journal.close()
            log.close()
    except BaseException as error:  # noqa: BLE001  # raised in the test's own thread
        server.error = error
        started.set()


class Peer:
    """One connection, used by the test's thread."""

    def __init__(
        self,
        endpoint: str,
        role: str = "worker",
        *,
        worker: str = "host-1",
        session: str = "",
        run: str | None = None,
        token: str = "",
        connection: Connection | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.session = session or uuid.uuid4().hex[:8]
        self.role = role
        self._patience = patience
        self.worker = worker
        self.connection: Connection = connection or connect(endpoint)
        if run is not None:
            self.connection = Addressed(self.connection, run, token=token)
        self._come: deque[tuple[Any, list[bytes]]] = deque()
        self._kept: list[tuple[Any, list[bytes]]] = []

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def hello(self, **fields: Any) -> messages.Welcome:
        """Joins."""
        self.send(messages.Hello(role=self.role, worker=self.worker, session=self.session, **fields))  # type: ignore[arg-type]
        return self.expect(messages.Welcome)[0]

    def send(self, message: messages.Message, *payload: bytes) -> None:
        """Sends a message."""
        self.connection.send(codec.encode(message, payload))

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Sends whatever it is."""
        self.connection.send(frames)

    def expect(self, kind: type[M]) -> tuple[M, list[bytes]]:
        """The next message of a kind; others are kept for later."""
        for place, (message, payload) in enumerate(self._kept):
            if isinstance(message, kind):
                del self._kept[place]
                return message, payload
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            received = self._receive(deadline - time.monotonic())
            if received is None:
                continue
            if isinstance(received[0], kind):
                return received
            self._kept.append(received)
        raise AssertionError(f"no {kind.__name__} came, but {[type(message).__name__ for message, _ in self._kept]}")

    def waiting(self, kind: type[M], seconds: float = 0.1) -> list[M]:
        """Messages of a kind that came, and that come within some time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            received = self._receive(left)
            if received is not None:
                self._kept.append(received)
        found = [message for message, _ in self._kept if isinstance(message, kind)]
        self._kept = [kept for kept in self._kept if not isinstance(kept[0], kind)]
        return found

    def _receive(self, timeout: float) -> tuple[Any, list[bytes]] | None:
        """The next message; what a batch acknowledges comes before it as so many Acks."""
        if not self._come:
            self._come.extend(self._take(timeout))
        return self._come.popleft() if self._come else None

    def _take(self, timeout: float) -> Iterator[tuple[Any, list[bytes]]]:
        frames = self.connection.receive()
        if frames is None:
            self.connection.poll(timeout)
            frames = self.connection.receive()
        if frames is None:
            return
        message, payload = codec.decode(frames, codec.TO_CLIENT if self.role == "client" else codec.TO_WORKER)
        for lease in getattr(message, "acked", ()):
            yield messages.Ack(lease=lease), []
        yield message, payload


class Client(Peer):
    """A client that has said Hello."""

    def __init__(self, endpoint: str, **fields: Any) -> None:
        super().__init__(endpoint, "client", worker="client", **fields)
        self.hello()

    def submit(self, plan: Plan) -> messages.Accepted:
        """Hands a plan over."""
        self.send(messages.Submit(session=self.session), encode_plan(plan))
        return self.expect(messages.Accepted)[0]

    def fetch(self, step: str, *, credit: int = 8) -> list[dict[str, Any]]:
        """All rows of a step."""
        rows: list[dict[str, Any]] = []
        cursor, last = "", False
        while not last:
            self.send(messages.Fetch(session=self.session, step=step, cursor=cursor, credit=credit))
            for _ in range(credit):
                answer, payload = self.expect(messages.Rows)
                cursor, last = answer.cursor, answer.last
                rows += decode_rows(payload[0]) if payload else []
                if last:
                    break
        return rows


class Worker(Peer):
    """A step process that computes by plain functions."""

    def join(self, **fields: Any) -> messages.Assign:
        """Joins, and is ready for what it is assigned."""
        self.hello(**fields)
        assign = self.expect(messages.Assign)[0]
        self.send(messages.Ready(session=self.session, step=assign.step))
        return assign

    def batch(self) -> tuple[messages.Batch, list[dict[str, Any]]]:
        """The next batch, with the rows of its first input."""
        batch, payload = self.expect(messages.Batch)
        return batch, decode_rows(payload[0]) if payload else []

    def parts(self, batch: messages.Batch) -> list[bytes]:
        """The rows of a large batch: of each input what its parts are together."""
        bodies: list[list[bytes]] = [[] for _ in batch.inputs]
        cursor: messages.Cursor = ()
        while True:
            self.send(messages.FetchPart(session=self.session, lease=batch.lease, cursor=cursor))
            part, payload = self.expect(messages.BatchPart)
            assert (part.lease, part.cursor) == (batch.lease, cursor)
            bodies[part.input] += payload
            cursor = part.next
            if not cursor:
                return [join_bodies(rows, parts) for rows, parts in zip(batch.rows, bodies, strict=True)]

    def give(self, lease: messages.Lease, rows: list[dict[str, Any]], **fields: Any) -> None:
        """Sends a result."""
        result = messages.Result(session=self.session, lease=lease, rows=len(rows), **fields)
        self.send(result, encode_rows(rows))


def chain(*names: str, size: int = 5, routes: Iterable[RouteSpec] = (), **settings: Any) -> Plan:
    """A plan of steps one behind the other."""
    steps = tuple(
        StepSpec(
            name=name,
            kind="normal" if place else "generator",
            size=size,
            predecessors=(names[place - 1],) if place else (),
            outputs=("out",),
            signature=f"sig-{name}",
            definition=f"definition of {name}".encode(),
        )
        for place, name in enumerate(names)
    )
    return Plan(pipeline="test", steps=steps, routes=tuple(routes), settings=RunSettings(**settings))


def place_of(seq_no: SeqNo) -> int:
    """The number of a generator's batch."""
    return seq_no[0] if seq_no else 0

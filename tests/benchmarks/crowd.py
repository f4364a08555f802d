"""A thousand workers on one broker and one coordinator: how soon all are in, and what their beats cost.

    python -m tests.benchmarks.crowd [--workers 1000] [--seconds 10] [--tcp]

Beside that: whether a small slow run goes on beside a large fast one, and how many workers each of nine steps gets that
all want all of them. Broker and coordinators are the real programs. The workers are simulated by this process, each
with a connection of its own that speaks for the host, its supervisor and its one step process. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import zmq

from distilmq.protocol import messages as m
from distilmq.protocol.broker_codec import TO_HOST
from distilmq.protocol.codec import TO_WORKER, decode, encode
from distilmq.protocol.messages.broker import Grants, HostBeat, HostHello
from distilmq.protocol.messages.runs import ShowRun
from distilmq.protocol.messages.slots import Offer
from distilmq.protocol.plan import Plan, ResourceSpec, RunSettings, StepSpec
from distilmq.protocol.rows import encode_rows
from distilmq.transport.addressed import with_address
from distilmq.transport.connection_file import read_connection
from tests.broker.front.brokers import BrokerClient, Program, broker_in
from tests.broker.serving import place_of

ROWS_PER_BATCH = 5
STEPS = 9
"""Behind one another, where steps share the workers."""
BATCHES = 1_000
"""Of such a run, at each step."""
_PATIENCE = 600.0
_NEVER = (float("inf"), float("inf"))
"""Seconds between beats, and when the next one is due."""


class SimulatedWorker:
    """A host with one slot, its supervisor and its step process, on one connection."""

    def __init__(self, number: int, socket: zmq.Socket[bytes], hold: bool, slow: float) -> None:
        self.socket = socket
        self.name = f"w{number}"
        self.welcomed = False
        self.ready = False
        self.step = ""
        """What its step process was assigned."""
        self._hold = hold
        self._slow = slow
        self._run = self._token = ""
        self._process = ""
        """The session of its step process, named as its grant."""
        self._heard = ""
        self._grants: tuple[str, ...] = ()
        self._held: deque[tuple[float, m.Lease]] = deque()
        self._broker_beat = self._run_beat = _NEVER

    def join(self) -> None:
        """Says Hello to the broker."""
        self._say("", HostHello(worker=self.name, session=f"h-{self.name}", offer=Offer(slots=1)))

    def receive(self, now: float) -> None:
        """Takes everything that has come."""
        while True:
            try:
                run, *frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            message, _ = decode(frames, TO_WORKER if run else TO_HOST)
            self._take(run.decode(), message, now)

    def tick(self, now: float) -> None:
        """Beats that are due, and results of slow batches."""
        interval, due = self._broker_beat
        if now >= due:
            self._broker_beat = (interval, now + interval)
            self._say("", HostBeat(session=f"h-{self.name}", grants=self._grants, heard=self._heard))
        interval, due = self._run_beat
        if now >= due:
            self._run_beat = (interval, now + interval)
            self._say(self._run, m.Heartbeat(session=f"s-{self.name}", children=(self._process,)))
            held = tuple(lease for _, lease in self._held)
            self._say(self._run, m.Heartbeat(session=self._process, held=held))
        while self._held and now >= self._held[0][0]:
            self._answer(self._held.popleft()[1])

    def _take(self, run: str, message: m.Message, now: float) -> None:
        match message:
            case m.Welcome() if run == "":
                self.welcomed = True
                self._broker_beat = (message.heartbeat, now + message.heartbeat)
            case m.Welcome() if run == self._run:
                self._run_beat = (message.heartbeat, now + message.heartbeat)
            case Grants():
                self._granted(message)
            case m.Assign():
                self.ready = True
                self.step = message.step
                self._say(run, m.Ready(session=self._process, step=message.step))
            case m.Batch() if run == self._run:
                wait = self._slow if "slow" in run and message.lease.step != "load" else 0.0
                if self._hold:
                    self._held.append((float("inf"), message.lease))
                elif wait:
                    self._held.append((now + wait, message.lease))
                else:
                    self._answer(message.lease)
            case _:
                return

    def _granted(self, message: Grants) -> None:
        self._heard = message.id
        self._grants = tuple(grant.id for grant in message.grants)
        if self._process and self._process not in self._grants:
            self._leave_run()
        for grant in message.grants[:1] if not self._process else ():
            self._run, self._process, self._token = grant.run, grant.id, grant.token
            self._say(self._run, m.Hello(role="supervisor", worker=self.name, session=f"s-{self.name}"))
            self._say(self._run, m.Hello(role="worker", worker=self.name, session=self._process, steps=grant.steps))

    def _leave_run(self) -> None:
        for session in (self._process, f"s-{self.name}"):
            self._say(self._run, m.Bye(session=session))
        self._run = self._process = self.step = ""
        self._run_beat = _NEVER
        self._held.clear()

    def _answer(self, lease: m.Lease) -> None:
        rows = encode_rows([{"n": number} for number in range(ROWS_PER_BATCH)])
        batches = int(self._run.rpartition("-")[2])
        last = lease.step == "load" and place_of(lease.seq_no) + 1 >= batches
        self._say(self._run, m.Result(session=self._process, lease=lease, rows=ROWS_PER_BATCH, last=last), [rows])

    def _say(self, run: str, message: m.Message, payload: Sequence[bytes] = ()) -> None:
        self.socket.send_multipart(with_address(run, encode(message, payload), token=self._token if run else ""))


class Crowd:
    """Workers that are served by turns, as the poller says."""

    def __init__(self, program: Program, count: int, *, hold: bool, slow: float = 0.5) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, count + 100)
        self._poller = zmq.Poller()
        self._places: dict[Any, SimulatedWorker] = {}
        for number in range(count):
            worker = SimulatedWorker(number, self._connect(program), hold, slow)
            self._places[worker.socket] = worker
            self._poller.register(worker.socket, zmq.POLLIN)
        self._tick_at = 0.0

    @property
    def workers(self) -> list[SimulatedWorker]:
        """All of them."""
        return list(self._places.values())

    def until(self, condition: Callable[[], object], *, apart: float = 0.0) -> float:
        """Serves them until something holds, looked at so many seconds apart; how many seconds that took."""
        began = looked = time.monotonic()
        while not condition():
            while True:
                now = time.monotonic()
                self._turn(now)
                if now >= looked + apart:
                    break
            looked = now
            if now - began > _PATIENCE:
                raise TimeoutError("it never came to that")
        return time.monotonic() - began

    def close(self) -> None:
        """Closes all connections."""
        self._context.destroy(linger=0)

    def _turn(self, now: float) -> None:
        for socket, _ in self._poller.poll(5):
            self._places[socket].receive(now)
        if now >= self._tick_at:
            self._tick_at = now + 0.05
            for worker in self._places.values():
                worker.tick(now)

    def _connect(self, program: Program) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        if program.endpoint.startswith("tcp://"):
            keys = read_connection(program.folder / "keys" / "worker.json").keys
            socket.curve_serverkey = keys.server.encode()
            socket.curve_publickey = keys.own.public.encode()
            socket.curve_secretkey = keys.own.secret.encode()
        socket.connect(program.endpoint)
        return socket


def joining(program: Program, count: int, seconds: float) -> dict[str, float]:
    """How soon all are in, and what share of a core their beats take of the broker and of the coordinator."""
    with BrokerClient(program) as client:
        client.start("run-1", _plan(count - 1))
        while not client.ask(ShowRun(session=client.session, run="run-1")).unmet:  # type: ignore[attr-defined]
            time.sleep(0.01)
    crowd = Crowd(program, count, hold=True)
    broker = psutil.Process(program.process.pid)
    try:
        (coordinator,) = program.coordinators()
        idle = _cpu(broker), _cpu(coordinator)
        own = time.process_time()
        for worker in crowd.workers:
            worker.join()
        welcomed = crowd.until(lambda: all(worker.welcomed for worker in crowd.workers))
        assigned = welcomed + crowd.until(lambda: all(worker.ready for worker in crowd.workers))
        own = time.process_time() - own
        joined = [now - then for now, then in zip((_cpu(broker), _cpu(coordinator)), idle, strict=True)]
        # What joining has left to do is no beat.
        settled = time.monotonic() + 5.0
        crowd.until(lambda: time.monotonic() >= settled)
        before = _cpu(broker), _cpu(coordinator)
        ended = time.monotonic() + seconds
        took = crowd.until(lambda: time.monotonic() >= ended)
        beats = [(now - then) / took for now, then in zip((_cpu(broker), _cpu(coordinator)), before, strict=True)]
    finally:
        crowd.close()
    return {
        "welcomed": welcomed,
        "assigned": assigned,
        "broker_joining": joined[0],
        "coordinator_joining": joined[1],
        "crowd_joining": own,
        "broker_beats": beats[0],
        "coordinator_beats": beats[1],
    }


def between_steps(program: Program, count: int) -> dict[str, float]:
    """What the step with the fewest processes has of its share, where each wants all, and how long a run takes then."""
    names = [f"step-{number}" for number in range(STEPS)]
    with BrokerClient(program) as client:
        client.start("held-1", _plan(count, *names))
        crowd = Crowd(program, count, hold=True)
        try:
            for worker in crowd.workers:
                worker.join()
            crowd.until(lambda: all(worker.ready for worker in crowd.workers))
            having = Counter(worker.step for worker in crowd.workers)
        finally:
            crowd.close()
        client.control("held-1", "kill")
        chain = f"chain-{BATCHES}"
        client.start(chain, _plan(count, *names))
        crowd = Crowd(program, min(count, 100), hold=False)
        try:
            for worker in crowd.workers:
                worker.join()
            crowd.until(lambda: client.runs()[chain].state == "done", apart=0.5)
        finally:
            crowd.close()
        info = client.runs()[chain]
    share = (count - having["load"]) / STEPS
    took = 0.0 if info.ended is None else info.ended - info.submitted
    return {"fewest": min(having[name] for name in names) / share, "chain_run": took}


def sharing(program: Program, count: int, *, batches: int = 10_000, slow: float = 0.5) -> dict[str, float]:
    """A run of many fast batches beside one of 10 slow ones: how long each takes."""
    fast = f"fast-{batches}"
    with BrokerClient(program) as client:
        client.start(fast, _plan(count))
        client.start("slow-10", _plan(10))
        crowd = Crowd(program, count, hold=False, slow=slow)
        try:
            for worker in crowd.workers:
                worker.join()
            crowd.until(lambda: all(info.state == "done" for info in client.runs().values()), apart=0.5)
            ended = {run: info.ended - info.submitted for run, info in client.runs().items() if info.ended is not None}
        finally:
            crowd.close()
    return {"slow_run": ended["slow-10"], "fast_run": ended[fast]}


def _plan(replicas: int, *names: str) -> Plan:
    """A generator and steps behind it, one after the other, that want so many processes each."""
    steps = [StepSpec(name="load", kind="generator", size=ROWS_PER_BATCH, signature="load")]
    for name in names or ("work",):
        step = StepSpec(
            name=name,
            kind="normal",
            size=ROWS_PER_BATCH,
            predecessors=(steps[-1].name,),
            resources=ResourceSpec(replicas=replicas),
            signature=name,
        )
        steps.append(step)
    return Plan(pipeline="crowd", steps=tuple(steps), settings=RunSettings(use_cache=False))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def measured(workers: int, seconds: float = 10.0, *, tcp: bool = False) -> dict[str, float]:
    """All figures."""
    cores = os.cpu_count() or 1
    figures: dict[str, float] = {"workers": workers, "cores": cores, "load": os.getloadavg()[0] / cores}
    with tempfile.TemporaryDirectory(prefix="distilmq-crowd-") as folder:
        with broker_in(Path(folder) / "a", tcp=tcp) as program:
            figures |= joining(program, workers, seconds)
        with broker_in(Path(folder) / "b", tcp=tcp) as program:
            figures |= sharing(program, min(workers, 100))
        with broker_in(Path(folder) / "c", tcp=tcp) as program:
            figures |= between_steps(program, workers)
    return {name: round(figure, 3) for name, figure in figures.items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tcp", action="store_true")
    options = parser.parse_args()
    print("RESULT " + json.dumps(measured(options.workers, options.seconds, tcp=options.tcp)))


if __name__ == "__main__":
    main()

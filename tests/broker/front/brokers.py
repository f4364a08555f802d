"""A broker as a program, and peers that speak to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from distilmq.protocol import messages
from distilmq.protocol.broker_codec import FROM_BROKER
from distilmq.protocol.codec import decode, encode
from distilmq.protocol.messages import runs
from distilmq.protocol.plan import Plan, encode_plan
from distilmq.transport.addressed import Addressed
from distilmq.transport.connection_file import read_connection
from distilmq.transport.keys import KeyRole
from distilmq.transport.ports import Connection
from distilmq.transport.zeromq import connect
from distilmq_broker.front.run_tokens import RunTokens
from distilmq_broker.keys.store import KeyStore
from tests.broker.serving import Client, Worker
from tests.network.machines import Machine

M = TypeVar("M", bound=messages.Message)
PATIENCE = 60.0


class Program:
    """`distilmq broker start` in a folder, on a socket of this user's own, or with keys on a port, here or not."""

    def __init__(
        self,
        folder: Path,
        *,
        tcp: bool = False,
        options: Sequence[str] = (),
        on: Machine | None = None,
        **environment: str,
    ) -> None:
        self.folder = folder
        self._options = options
        self._environment = environment
        self._within = on.within if on else []
        self.endpoint = f"ipc:///tmp/distilmq-test-{uuid.uuid4().hex[:8]}/front"
        if tcp or on:
            self.endpoint = f"tcp://{on.address if on else '127.0.0.1'}:0"
        self.process = self._start()

    def start_again(self) -> None:
        """Starts the next broker, when the one before has ended."""
        self.process = self._start()

    def kill(self) -> None:
        """SIGKILL, and its end."""
        self.process.kill()
        self.process.communicate()

    def terminate(self) -> tuple[int, str]:
        """SIGTERM; exit code and what it said on its standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said

    def connection(self, role: KeyRole) -> Connection:
        """A connection to it; over TCP with the key that it has made for a role."""
        if self.endpoint.startswith("ipc://"):
            return connect(self.endpoint)
        return read_connection(self.folder / "keys" / f"{role}.json").connect()

    def coordinators(self) -> list[psutil.Process]:
        """The coordinators that it has started and that live."""
        return [process for process in psutil.Process(self.process.pid).children() if alive(process)]

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "broker.log").read_text()

    def run(self, run: str) -> Path:
        """The folder of a run."""
        return self.folder / "runs" / run

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self._within, *start_command(), "--bind", self.endpoint, "--dir", str(self.folder), *self._options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **self._environment},
        )
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"listens at (\S+);", line):
                # A port that was free is kept over restarts.
                self.endpoint = found.group(1)
                return process
        raise AssertionError(process.communicate()[1])


def alive(process: psutil.Process) -> bool:
    """Whether it runs, and is no zombie."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_command() -> list[str]:
    """`distilmq broker start`, without all the other commands."""
    return [sys.executable, "-P", "-c", "from distilmq_broker.front.cli import app; app()", "start"]


@contextmanager
def broker_in(
    folder: Path, *, tcp: bool = False, options: Sequence[str] = (), on: Machine | None = None, **environment: str
) -> Iterator[Program]:
    """A broker until the block ends; it ends as on SIGTERM."""
    program = Program(folder, tcp=tcp, options=options, on=on, **environment)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            code, said = program.terminate()
            assert (code, said) == (0, "")


class BrokerClient:
    """A client of the broker itself."""

    def __init__(
        self,
        program: Program,
        role: KeyRole = "client",
        *,
        connection: Connection | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._patience = patience
        self.session = uuid.uuid4().hex[:8]
        self.connection = Addressed(connection or program.connection(role))

    def __enter__(self) -> BrokerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def start(self, run: str, plan: Plan, **fields: Any) -> messages.Message:
        """Submits a plan; the answer."""
        return self.ask(runs.StartRun(session=self.session, run=run, **fields), encode_plan(plan))

    def control(self, run: str, action: Any, **fields: Any) -> messages.Message:
        """Wants something of a run; the answer."""
        return self.ask(runs.ControlRun(session=self.session, run=run, action=action, **fields))

    def runs(self) -> dict[str, runs.RunInfo]:
        """All runs, by id."""
        answer = self.ask(runs.ListRuns(session=self.session))
        assert isinstance(answer, runs.RunList)
        return {info.run: info for info in answer.runs}

    def shown(self, run: str) -> runs.RunShown:
        """All there is to say about a run."""
        answer = self.ask(runs.ShowRun(session=self.session, run=run))
        assert isinstance(answer, runs.RunShown)
        return answer

    def ask(self, message: messages.Message, *payload: bytes) -> messages.Message:
        """Says something and gives the answer."""
        return self.ask_for_frames(message, *payload)[0]

    def ask_for_frames(self, message: messages.Message, *payload: bytes) -> tuple[messages.Message, Sequence[bytes]]:
        """Says something and gives the answer with its payload."""
        self.connection.send(encode(message, payload))
        frames = self.connection.receive()
        if frames is None:
            self.connection.poll(self._patience)
            frames = self.connection.receive()
        assert frames is not None, f"no answer to {message.model_dump()}"
        return decode(frames, FROM_BROKER)


def client_of(program: Program, run: str) -> Client:
    """A client of a run."""
    return Client("", run=run, connection=program.connection("client"))


def worker_of(program: Program, run: str, **fields: Any) -> Worker:
    """A step process of a run, as if a host had been given a slot for it; with `token`, what it shows instead."""
    guarded = not program.endpoint.startswith("ipc://")
    tokens = RunTokens(KeyStore(program.folder).server().secret if guarded else None)
    return Worker("", run=run, connection=program.connection("worker"), **{"token": tokens.of(run), **fields})

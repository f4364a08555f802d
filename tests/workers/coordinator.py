"""A coordinator that does what a test says, on a real socket, for real worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import cloudpickle

from distilmq.protocol import messages
from distilmq.protocol.codec import FROM_PEER, decode, encode
from distilmq.protocol.rows import decode_rows, encode_rows
from distilmq.transport.ports import PeerId, PeerUnreachableError
from distilmq.transport.zeromq import listen
from tests.stopwatch import undisturbed

PATIENCE = 60.0
ROOT = Path(__file__).parents[2]

M = TypeVar("M", bound=messages.Message)
Heard = tuple[PeerId, messages.Message, list[bytes]]


class ScriptedCoordinator:
    """Welcomes whoever says Hello; everything else the test does.

    Attributes:
        heard: what came and was not asked for yet, in order.
        beats: the Heartbeats, with the time at which each came.
    """

    def __init__(self, *, heartbeat: float = 0.1, max_message: int = 2**28, max_part: int = 0) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="distilmq-t-")
        self._heartbeat = heartbeat
        self._max_message = max_message
        self._max_part = max_part
        self._processes: list[subprocess.Popen[bytes]] = []
        self.epoch = 1
        self.heard: list[Heard] = []
        self.beats: list[tuple[float, messages.Heartbeat]] = []
        """Each with when it came, in undisturbed seconds."""
        self.endpoint = f"ipc://{self._folder.name}/c"
        self._listener = listen(self.endpoint, linger=0)
        self.output = Path(self._folder.name) / "output"

    def __enter__(self) -> ScriptedCoordinator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.output.read_text() if self.output.exists() else "(no output)")
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
            process.kill()
            process.wait()
        self._listener.close()
        self._folder.cleanup()

    # ---------------------------------------------------------------- processes

    def start_process(self) -> subprocess.Popen[bytes]:
        """One step process without a supervisor."""
        name = f"session-{len(self._processes)}"
        options = ["--worker", "host", "--session", name, "--parent", str(os.getpid())]
        return self._start("distilmq_workers.process", options)

    def start_supervisor(self, slots: int = 1) -> subprocess.Popen[bytes]:
        """A supervisor whose life line is its standard input."""
        return self._start("distilmq_workers", ["--worker", "host", "--slots", str(slots)], stdin=subprocess.PIPE)

    def _start(self, module: str, options: Sequence[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, "--endpoint", self.endpoint, *options],
                stdin=stdin,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            )
        self._processes.append(process)
        return process

    # ---------------------------------------------------------------- hearing

    def hear(self, kind: type[M], where: Callable[[M], bool] = lambda message: True) -> tuple[M, list[bytes], PeerId]:
        """The next message of a kind that fits; those before it are kept for later."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for place, (peer, message, payload) in enumerate(self.heard):
                if isinstance(message, kind) and where(message):
                    del self.heard[place]
                    return message, payload, peer
            if time.monotonic() > deadline:
                raise AssertionError(f"no {kind.__name__} came; heard {[message for _, message, _ in self.heard]}")
            self.listen(deadline - time.monotonic())

    def listen(self, seconds: float = 0.0) -> None:
        """Takes what has come; waits for it if nothing has."""
        self._listener.poll(seconds)
        while (received := self._listener.receive()) is not None:
            peer, frames = received
            message, payload = decode(frames, FROM_PEER)
            if isinstance(message, messages.Heartbeat):
                self.beats.append((undisturbed(), message))
                continue
            if isinstance(message, messages.Hello):
                self.welcome(peer)
            self.heard.append((peer, message, payload))

    def until(self, condition: Callable[[], bool]) -> None:
        """Listens until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it never came to that"
            self.listen(0.02)

    def said(self, kind: type[M]) -> list[M]:
        """What was heard of a kind and not asked for yet."""
        self.listen()
        return [message for _, message, _ in self.heard if isinstance(message, kind)]

    # ---------------------------------------------------------------- saying

    def welcome(self, peer: PeerId) -> None:
        """The answer to Hello."""
        self.say(
            peer,
            messages.Welcome(
                run="r",
                epoch=self.epoch,
                heartbeat=self._heartbeat,
                liveness=15.0,
                max_message=self._max_message,
                max_part=self._max_part,
            ),
        )

    def say(self, peer: PeerId, message: messages.Message, payload: Iterable[bytes] = ()) -> None:
        """Sends; a peer that is gone hears nothing."""
        try:
            self._listener.send(peer, encode(message, list(payload)))
        except PeerUnreachableError:
            return

    def supervisor(self) -> tuple[messages.Hello, PeerId]:
        """The next supervisor that says Hello."""
        hello, _, peer = self.hear(messages.Hello, lambda message: message.role == "supervisor")
        return hello, peer

    def slot(self, step: Any = None, **assign: Any) -> Worker:
        """The next step process that says Hello; given a step, it is loaded."""
        hello, _, peer = self.hear(messages.Hello, lambda message: message.role == "worker")
        worker = Worker(self, hello, peer)
        if step is not None:
            worker.assign(step, **assign)
            self.hear(messages.Ready, lambda message: message.session == hello.session)
        return worker


class Worker:
    """One step process, as its coordinator sees it."""

    def __init__(self, coordinator: ScriptedCoordinator, hello: messages.Hello, peer: PeerId) -> None:
        self._coordinator = coordinator
        self.hello = hello
        self.peer = peer
        self.step = ""

    def assign(self, step: Any, **fields: Any) -> None:
        """Tells it which step it runs."""
        self.step = step.name
        kind = "generator" if step.is_generator else "global" if step.is_global else "normal"
        said = messages.Assign(step=step.name, replica=0, step_kind=kind, outputs=tuple(step.get_outputs()), **fields)
        self.say(said, [cloudpickle.dumps(step)])

    def say(self, message: messages.Message, payload: Iterable[bytes] = ()) -> None:
        """Sends it a message."""
        self._coordinator.say(self.peer, message, payload)

    def lease(self, number: int, attempt: int = 1) -> messages.Lease:
        """Names a batch of its step."""
        return messages.Lease(step=self.step, seq_no=(number,) if number else (), attempt=attempt)

    def hand(
        self, number: int, *inputs: Iterable[Any], attempt: int = 1, answers: bytes | None = None, offset: int = 0
    ) -> messages.Lease:
        """Hands out a batch: per predecessor the values of `n` in its rows, or whole rows."""
        lease = self.lease(number, attempt)
        lists = [[row if isinstance(row, dict) else {"n": row} for row in rows] for rows in inputs]
        said = messages.Batch(
            lease=lease,
            inputs=tuple(f"branch_{place}" for place in range(len(lists))),
            rows=tuple(len(rows) for rows in lists),
            offset=offset,
            answers=answers is not None,
        )
        frames = [encode_rows(rows) for rows in lists]
        self.say(said, frames if answers is None else [*frames, answers])
        return lease

    def result(self, *, ack: bool = True) -> tuple[messages.Result, list[dict[str, Any]]]:
        """Its next result, acknowledged."""
        result, payload, _ = self._coordinator.hear(messages.Result)
        if ack:
            self.say(messages.Ack(lease=result.lease))
        return result, decode_rows(payload[0])

    def run(self, number: int, *inputs: Iterable[Any]) -> tuple[messages.Result, list[dict[str, Any]]]:
        """Hands out a batch and waits for its result."""
        self.hand(number, *inputs)
        return self.result()


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def all_gone(pids: Iterable[int], patience: float = PATIENCE) -> bool:
    """Waits until none of the processes is there."""
    deadline = time.monotonic() + patience
    waiting = list(pids)
    while any(alive(pid) for pid in waiting):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True

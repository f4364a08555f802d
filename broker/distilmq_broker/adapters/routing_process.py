"""Routing functions in a child process: user code never runs where the socket and the journal are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from distilmq.errors import LocalProtocolError
from distilmq.protocol.messages import ErrorInfo
from distilmq.protocol.packing import pack, unpack
from distilmq.protocol.plan import RouteSpec
from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.adapters.framing import framed, take_frame
from distilmq_broker.adapters.process_launcher import client_environment
from distilmq_broker.core.events import Routed, RouteFailed
from distilmq_broker.routing import ChoiceError, checked_choice, error_info, no_list, sample_steps

_ASKED_AT_ONCE = 32
"""Questions on the way to the child: few enough that writing them never blocks."""

Answer = Routed | RouteFailed
_Question = tuple[str, SeqNo, tuple[str, ...]]


class RoutingProcess:
    """See `ports.Router`. The child is started by the first question that needs a function."""

    def __init__(self, routes: Iterable[RouteSpec], *, output: Path, path: Sequence[str] = (), cwd: str = "") -> None:
        self._routes = {route.step: route for route in routes}
        self._output = output
        self._environment = client_environment(path)
        self._cwd = cwd if cwd and Path(cwd).is_dir() else None
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting: deque[_Question] = deque()
        self._asked: dict[int, _Question] = {}
        self._numbers = 0
        self._received = bytearray()
        self._answers: list[Answer] = []

    def ask(self, step: str, seq_no: SeqNo, successors: tuple[str, ...]) -> None:
        """See `ports.Router`."""
        route = self._routes.get(step)
        if route is None:
            raise LocalProtocolError(f"step {step!r} has no routing function")
        if route.sample is None:
            self._waiting.append((step, seq_no, successors))
            self._send()
            return
        try:
            choice = sample_steps(step, seq_no, successors, route.sample)
        except ChoiceError as error:
            self._answers.append(RouteFailed(step, seq_no, error_info(error)))
        else:
            self._answers.append(Routed(step, seq_no, choice))

    def fileno(self) -> int:
        """See `ports.Router`."""
        return self._ours.fileno()

    def answers(self) -> Iterable[Answer]:
        """See `ports.Router`."""
        self._receive()
        self._send()
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """See `ports.Router`."""
        self._ours.close()
        self._theirs.close()
        self._end_child(patience=0)

    def _send(self) -> None:
        while self._waiting and len(self._asked) < _ASKED_AT_ONCE:
            self._child = self._child or self._start()
            question = self._waiting.popleft()
            step, _, successors = question
            self._numbers += 1
            self._asked[self._numbers] = question
            self._write(pack([self._numbers, step, successors]))

    def _write(self, data: bytes) -> None:
        # Blocks only while the functions of a child that is just starting are larger than the socket's buffer.
        self._ours.setblocking(True)
        try:
            self._ours.sendall(framed(data))
            self._ours.setblocking(False)
        except OSError:
            self._give_up()

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self._theirs.fileno()
        with self._output.open("ab") as output:
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "distilmq_broker.adapters.routing_child",
                    str(descriptor),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._cwd,
                env=self._environment,
                pass_fds=(descriptor,),
                process_group=0,
            )
        self._theirs.close()
        self._write(pack({step: route.function for step, route in self._routes.items()}))
        return child

    def _receive(self) -> None:
        if self._child is None:
            return
        while True:
            try:
                data = self._ours.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._give_up()
                return
            self._received += data
        while (data := take_frame(self._received)) is not None:
            self._take(unpack(data))

    def _take(self, answer: list[Any]) -> None:
        number, *rest = answer
        step, seq_no, successors = self._asked.pop(number)
        if len(rest) == 3:
            kind, message, trace = rest
            error = ErrorInfo(type=kind, message=message, traceback=trace)
            self._answers.append(RouteFailed(step, seq_no, error))
            return
        try:
            if isinstance(rest[0], str):
                raise no_list(step, rest[0])
            self._answers.append(Routed(step, seq_no, checked_choice(step, successors, rest[0])))
        except ChoiceError as error:
            self._answers.append(RouteFailed(step, seq_no, error_info(error)))

    def _end_child(self, *, patience: float = 1.0) -> int | None:
        if self._child is None:
            return None
        try:
            return self._child.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(self._child.pid, signal.SIGKILL)
            return self._child.wait()

    def _give_up(self) -> None:
        code = self._end_child()
        for step, seq_no, _ in [*self._asked.values(), *self._waiting]:
            message = f"the process of the routing function behind step {step!r} ended with code {code}"
            self._answers.append(RouteFailed(step, seq_no, ErrorInfo(type="RoutingError", message=message)))
        self._asked.clear()
        self._waiting.clear()
        # A fresh pair and a fresh child for later questions; nothing is readable on it until then.
        self._ours.close()
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._child = None
        self._received.clear()

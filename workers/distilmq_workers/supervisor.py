"""The supervisor of a host: it keeps step processes in its slots, beats for them, and tells when one ends.

It runs no user code, so nothing that a step does can silence its heartbeat.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import sys
import time
import uuid
from types import FrameType

from distilmq.errors import RemoteProtocolError
from distilmq.protocol.codec import TO_WORKER, decode, encode
from distilmq.protocol.messages import (
    Bye,
    Exited,
    Heartbeat,
    Hello,
    Kill,
    Message,
    Refused,
    Slots,
    Stop,
    Versions,
    Welcome,
    Who,
)
from distilmq.transport.ports import Connection
from distilmq_workers.children import Children

IDLE = 1.0
QUICK_DEATH = 2.0
"""Seconds: a process that ends sooner is started again more and more slowly."""
LONGEST_PAUSE = 5.0


class Supervisor:
    """Owns one connection and the step processes of one worker."""

    def __init__(self, connection: Connection, *, endpoint: str, worker: str, slots: int, lifeline: int | None) -> None:
        self._connection = connection
        self._worker = worker
        self._session = uuid.uuid4().hex[:16]
        self._wanted = slots
        self._lifeline = lifeline
        """Descriptor that reads the end of file when whoever started this is gone."""
        self._children = Children(endpoint=endpoint, worker=worker)
        self._heartbeat: float | None = None
        self._next_beat = 0.0
        self._quick_deaths = 0
        self._start_after = 0.0
        self._leaving = False
        self._wake, self._woken = os.pipe()

    def run(self) -> int:
        """Serves until told to leave, or until whoever started it is gone; returns the exit code."""
        self._listen_to_signals()
        self._say(self._hello())
        code = 0
        while not self._leaving:
            self._fill(time.monotonic())
            if not self._wait():
                code = 1
                break
            self._receive()
            self._children.listen()
            self._report_ends(time.monotonic())
            self._beat(time.monotonic())
        self._children.kill_all()
        self._say(Bye(session=self._session))
        self._connection.close()
        return code

    # ------------------------------------------------------------ waiting

    def _listen_to_signals(self) -> None:
        for end in (self._wake, self._woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._woken)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        # Ctrl+C reaches the whole terminal group; only the client decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _on_terminate(self, _number: int, _frame: FrameType | None) -> None:
        self._leaving = True

    def _wait(self) -> bool:
        """Waits for something to happen; False when the life line is cut."""
        files = [self._wake, *self._children.files()]
        if self._lifeline is not None:
            files.append(self._lifeline)
        ready = self._connection.poll(self._patience(time.monotonic()), files)
        if self._wake in ready:
            os.read(self._wake, 4_096)
        return self._lifeline is None or self._lifeline not in ready or bool(os.read(self._lifeline, 1))

    def _patience(self, now: float) -> float:
        waits = [IDLE]
        if self._heartbeat is not None:
            waits.append(self._next_beat - now)
        if len(self._children) < self._wanted:
            waits.append(self._start_after - now)
        return max(0.0, min(waits))

    # ------------------------------------------------------------ the coordinator

    def _hello(self) -> Hello:
        return Hello(
            role="supervisor",
            worker=self._worker,
            session=self._session,
            capacity=self._wanted,
            versions=Versions(python=".".join(platform.python_version_tuple()[:2])),
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    def _say(self, message: Message) -> None:
        self._connection.send(encode(message))

    def _receive(self) -> None:
        while (frames := self._connection.receive()) is not None:
            try:
                message, _ = decode(frames, TO_WORKER)
            except RemoteProtocolError as error:
                print(f"passed over: {error}", file=sys.stderr)
                continue
            self._on_message(message)

    def _on_message(self, message: Message) -> None:
        match message:
            case Welcome(heartbeat=heartbeat):
                self._heartbeat = heartbeat
            case Who():
                self._say(self._hello())
            case Slots(count=count):
                self._wanted = count
            case Kill(child=child):
                self._children.kill(child)
            case Stop():
                self._leaving = True
            case Refused(reason=reason, fix=fix):
                print(f"refused: {reason} {fix}".strip(), file=sys.stderr)
                self._leaving = True
            case _:
                return

    def _beat(self, now: float) -> None:
        if self._heartbeat is not None and now >= self._next_beat:
            self._next_beat = now + self._heartbeat
            self._say(Heartbeat(session=self._session, children=self._children.sessions))

    # ------------------------------------------------------------ the step processes

    def _fill(self, now: float) -> None:
        while len(self._children) < self._wanted and now >= self._start_after:
            self._children.start(now)

    def _report_ends(self, now: float) -> None:
        for child, code in self._children.reap():
            output = child.tail.decode(errors="replace")
            self._say(Exited(session=self._session, child=child.session, code=code, output=output))
            self._pace(now - child.started, code, now)

    def _pace(self, lived: float, code: int, now: float) -> None:
        """Starts what dies at once again more and more slowly; everything else at once."""
        if code == 0 or lived >= QUICK_DEATH:
            self._quick_deaths = 0
            return
        self._quick_deaths += 1
        if self._quick_deaths > 3:
            self._start_after = now + min(LONGEST_PAUSE, 0.1 * 2.0 ** (self._quick_deaths - 3))

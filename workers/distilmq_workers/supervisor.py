"""The supervisor of a host: it keeps step processes in its slots, beats for them, and tells when one ends.

It runs no user code, so nothing that a step does can silence its heartbeat.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time

from distilmq.errors import RemoteProtocolError
from distilmq.protocol.codec import TO_WORKER, decode, encode
from distilmq.protocol.messages import (
    Bye,
    Drain,
    Exited,
    Heartbeat,
    Hello,
    Kill,
    Message,
    Note,
    Refused,
    Slots,
    Stop,
    Versions,
    Welcome,
    Who,
)
from distilmq.transport.ports import Connection
from distilmq_workers.children import Children
from distilmq_workers.loader import python_minor
from distilmq_workers.pacing import Pacing
from distilmq_workers.settings import SupervisorSettings

IDLE = 5.0
"""Seconds of the longest wait; also after which Hello is said again while nobody has welcomed us."""

LIFELINE_CUT = 1
REFUSED = 2


class Supervisor:
    """Owns one connection and the step processes of one worker.

    Args:
        connection: to the coordinator; closed at the end.
        settings: as the command line said.
        children: the step processes, some of which may have been started already.
    """

    def __init__(self, connection: Connection, settings: SupervisorSettings, children: Children) -> None:
        self._connection = connection
        self._settings = settings
        self._children = children
        self._session = os.urandom(8).hex()
        self._wanted = settings.slots
        self._heartbeat: float | None = None
        self._next_beat = 0.0
        self._hello_at = 0.0
        self._pacing = Pacing()
        self._terminations = 0
        self._leaving = False
        """No process is replaced any more; leaves when none is left."""
        self._code: int | None = None
        self._signals, self._signalled = os.pipe()

    def run(self) -> int:
        """Serves until told to leave, or until whoever started it is gone; returns the exit code."""
        self._listen_to_signals()
        while self._code is None:
            now = time.monotonic()
            self._fill(now)
            self._hello_and_beat(now)
            self._wait(now)
            self._receive()
            self._children.listen()
            self._report_stalls(time.monotonic())
            self._report_ends(time.monotonic())
            if self._leaving and not len(self._children):
                self._code = self._code or 0
        self._children.kill_all()
        self._say(Bye(session=self._session))
        self._connection.close()
        return self._code

    # ------------------------------------------------------------ waiting

    def _listen_to_signals(self) -> None:
        for end in (self._signals, self._signalled):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._signalled, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        # Ctrl+C reaches the whole terminal group; only the client decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _wait(self, now: float) -> None:
        files = [self._signals, *self._children.files()]
        lifeline = self._settings.lifeline
        if lifeline is not None:
            files.append(lifeline)
        ready = self._connection.poll(self._patience(now), files)
        if self._signals in ready:
            self._take_signals()
        if lifeline is not None and lifeline in ready and not os.read(lifeline, 4096):
            self._code = LIFELINE_CUT

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._signals, 4096):
                if number == signal.SIGTERM:
                    self._terminate()

    def _patience(self, now: float) -> float:
        deadlines = [now + IDLE, self._hello_at if self._heartbeat is None else self._next_beat]
        if len(self._children) < self._wanted and not self._leaving:
            deadlines.append(self._pacing.start_after)
        if (due := self._children.stacks_due()) is not None:
            deadlines.append(due)
        return max(0.0, min(deadlines) - now)

    # ------------------------------------------------------------ the coordinator

    def _hello_and_beat(self, now: float) -> None:
        if self._heartbeat is None:
            if now >= self._hello_at:
                self._hello_at = now + IDLE
                self._say(self._hello())
        elif now >= self._next_beat:
            self._next_beat = now + self._heartbeat
            self._say(Heartbeat(session=self._session, children=self._children.sessions))

    def _hello(self) -> Hello:
        return Hello(
            role="supervisor",
            worker=self._settings.worker,
            session=self._session,
            capacity=self._wanted,
            versions=Versions(python=python_minor()),
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
                print(f"a message that is none was passed over: {error}", file=sys.stderr)
                continue
            self._obey(message)

    def _obey(self, message: Message) -> None:
        match message:
            case Welcome(heartbeat=heartbeat):
                self._heartbeat = heartbeat
            case Who():
                self._say(self._hello())
            case Slots(count=count):
                self._wanted = count
            case Kill(child=child):
                self._children.kill(child)
            case Drain():
                # Step processes are told themselves; none of those that leave is replaced.
                self._leaving = True
            case Stop(now=True):
                self._code = 0
            case Stop():
                self._leaving = True
                self._children.terminate()
            case Refused(reason=reason, fix=fix):
                print(f"refused: {reason} {fix}".strip(), file=sys.stderr)
                self._code = REFUSED
            case _:
                pass

    def _terminate(self) -> None:
        """SIGTERM: the first time what is in hand is finished, the second time everything ends."""
        self._terminations += 1
        self._leaving = True
        if self._terminations == 1:
            self._children.terminate()
        else:
            self._code = 0

    # ------------------------------------------------------------ the step processes

    def _fill(self, now: float) -> None:
        if not self._leaving and now >= self._pacing.start_after:
            self._children.fill(self._wanted, now=now)

    def _report_stalls(self, now: float) -> None:
        for child, stacks in self._children.stalled(now):
            text = f"process {child} lets nothing else in it run; its threads are at:\n{stacks}"
            self._say(Note(session=self._session, level="warning", event="stalled", text=text, child=child))

    def _report_ends(self, now: float) -> None:
        for ended in self._children.reap(now):
            self._say(Exited(session=self._session, child=ended.session, code=ended.code, output=ended.output))
            self._pacing.ended(ended.lived, ended.code, now)

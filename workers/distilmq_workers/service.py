"""The thread of a step process that owns the socket: messages become events, commands are carried out.

The user's code never runs here, and nothing here waits for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from distilmq.errors import RemoteProtocolError
from distilmq.protocol.codec import TO_WORKER, decode, encode
from distilmq.protocol.messages import (
    BatchPart,
    LoadFailed,
    Message,
    Note,
    Refused,
    ResultPart,
    SharedFile,
)
from distilmq.transport.ports import Connection, MessageTooLargeError
from distilmq_workers import events
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
from distilmq_workers.outbox import Outbox
from distilmq_workers.session import Session
from distilmq_workers.stalls import DeadManSwitch
from distilmq_workers.work import Work

if TYPE_CHECKING:
    from distilmq_workers.by_file import ByFile

UNLOAD_PATIENCE = 10.0
"""Seconds that `unload()` may take."""


class Service:
    """Serves until the session leaves.

    Args:
        connection: to the coordinator; closed at the end.
        session: decides.
        outbox: events from the user's side.
        work: the user's side.
        signals: descriptor from which the numbers of signals are read.
        switch: tells of user code that lets nothing else run.
        limit: told of the largest message that the coordinator takes, and of the largest part of a result.
    """

    def __init__(
        self,
        connection: Connection,
        session: Session,
        *,
        outbox: Outbox,
        work: Work,
        signals: int,
        switch: DeadManSwitch,
        limit: Callable[[int, int], None],
    ) -> None:
        self._connection = connection
        self._session = session
        self._outbox = outbox
        self._work = work
        self._signals = signals
        self._switch = switch
        self._limit = limit
        self._files = [outbox.fileno(), signals]
        self._way: ByFile | None = None
        self._leave: Leave | None = None
        self._press_at = 0.0

    def run(self) -> Leave:
        """Says Hello, then serves; the connection is closed when it returns."""
        now = time.monotonic()
        self._perform(self._session.start(now))
        while self._leave is None:
            deadline = self._session.next_deadline()
            readable = self._connection.poll(max(0.0, deadline - time.monotonic()), self._files)
            # What waits is read before a beat is sent: a batch that has just come is held, not missing.
            self._receive()
            for event in self._outbox.take():
                self._handle(event)
            if self._way is not None:
                self._way.settle()
            if self._signals in readable:
                self._take_signals()
            self._handle_time(time.monotonic(), deadline)
        self._switch.release()
        self._connection.close()
        return self._leave

    def _receive(self) -> None:
        while self._leave is None and (frames := self._connection.receive()) is not None:
            try:
                message, payload = decode(frames, TO_WORKER)
            except RemoteProtocolError as error:
                print(f"a message that is none was passed over: {error}", file=sys.stderr)
                continue
            if isinstance(message, Refused):
                print(f"refused: {message.reason} {message.fix}".strip(), file=sys.stderr)
            if isinstance(message, BatchPart) and message.file is not None:
                self._fetch(message, message.file)
            else:
                self._handle(events.Received(message, payload))

    def _fetch(self, part: BatchPart, file: SharedFile) -> None:
        by_file = self._by_file()
        if by_file is not None:
            by_file.fetch(file, lambda data: self._handle(events.Received(part, [data])))

    def _by_file(self) -> ByFile | None:
        """By which way rows go, once a step is loaded whose rows do."""
        if self._way is None and self._work.files is not None:
            from distilmq_workers.by_file import ByFile  # here, not above: most runs need no file system

            self._way = ByFile(self._work.files)
            self._files.append(self._way.fileno())
        return self._way

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._signals, 4096):
                if number == _SIGTERM:
                    self._handle(events.TerminateAsked())

    def _handle_time(self, now: float, deadline: float) -> None:
        if now >= deadline:
            self._handle(events.TimePassed())
        if self._switch.armed and now >= self._press_at:
            # Looked at rarely, and not with each batch: each press starts a thread.
            if self._session.running:
                self._press(now)
            else:
                self._switch.release()

    def _press(self, now: float) -> None:
        welcome = self._session.welcome
        beat = 1.0 if welcome is None else welcome.heartbeat
        self._press_at = now + 1.0
        # This thread wakes at least once a beat, so only one that cannot run lets the time pass.
        patience = self._session.patience.stall_after + beat + 2.0
        if (last_look := self._session.patience.last_look_after) is not None:
            patience = min(patience, max(last_look, beat + 1.5))
        self._switch.press(patience)

    def _handle(self, event: events.Event) -> None:
        self._perform(self._session.handle(event, time.monotonic()))

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Say(message, payload):
                    if isinstance(message, LoadFailed):
                        print(_cannot_run(message), file=sys.stderr)
                    self._say(message, payload)
                case RunBatch(batch, payload):
                    if not self._switch.armed:
                        # Before the user's code has it: from then on this thread may not come to run.
                        self._press(time.monotonic())
                    self._work.run(batch, payload)
                case LimitMessages(size, part):
                    self._limit(size, part)
                case WriteData(digest, offset, data):
                    self._work.data.write(digest, offset, data)
                case LoadStep(assign, definition):
                    self._work.load(assign, definition)
                case TakeLoan(lend):
                    self._work.take_loan(lend)
                case TakeJobKept(kept):
                    self._work.take_job_kept(kept)
                case TakeRecorded(lease):
                    self._work.take_recorded(lease)
                case SendFilesAgain():
                    self._work.send_files_again()
                case StopAsking():
                    self._work.stop_asking()
                case ReportStall():
                    self._report_stall(command)
                case Leave():
                    self._leave = command

    def _say(self, message: Message, payload: Sequence[bytes]) -> None:
        if isinstance(message, ResultPart) and (by_file := self._by_file()) is not None:
            by_file.put_away(message, payload[0], self._send)
        else:
            self._send(message, payload)

    def _send(self, message: Message, payload: Sequence[bytes]) -> None:
        try:
            self._connection.send(encode(message, payload))
        except MessageTooLargeError as error:
            # Results are checked where they are made; an answer of a model that is too large is only not kept.
            print(f"{type(message).__name__} was not sent: {error}", file=sys.stderr)

    def _report_stall(self, stall: ReportStall) -> None:
        stack = self._work.stack_of(stall.lease)
        text = f"`process` has not returned for {stall.seconds:.0f} s; it is at:\n{stack}"
        self._say(
            Note(
                session=self._session.hello.session,
                step=stall.lease.step,
                level="warning",
                event="stalled",
                text=text,
                lease=stall.lease,
            ),
            (),
        )


_SIGTERM = 15


def _cannot_run(failed: LoadFailed) -> str:
    """For the log of this machine: where others can run the step, nobody but its operator can do anything about it."""
    said = f"step '{failed.step}' cannot run here: {failed.error.type}: {failed.error.message}"
    missing = failed.error.type in {"ImportError", "ModuleNotFoundError"}
    return f"{said}; install it here, and start the worker again" if missing else said

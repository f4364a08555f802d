"""The loop of a host: messages, signals and the ends of processes become events, commands are carried out.

It runs no user code, so nothing that a step does can silence its beats.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

from distilmq.errors import RemoteProtocolError
from distilmq.protocol.broker_codec import TO_HOST
from distilmq.protocol.codec import TO_WORKER, VERSION, decode, encode
from distilmq.protocol.messages import Message, Refused
from distilmq.protocol.messages.broker import Grant, Grants
from distilmq.transport.addressed import BROKER, split_address, with_address
from distilmq.transport.ports import Connection, KeyDeniedError
from distilmq_workers.artifacts import sweep
from distilmq_workers.children import Children
from distilmq_workers.host import events
from distilmq_workers.host.commands import (
    Command,
    GoBy,
    KillProcess,
    Leave,
    Say,
    StartProcess,
    Tell,
    TerminateProcess,
)
from distilmq_workers.host.session import REFUSED, HostSession
from distilmq_workers.settings import RUN_TOKEN


class HostService:
    """Serves until the session leaves.

    Args:
        connection: to the broker; closed at the end.
        session: decides.
        children: the step processes.
        starter: descriptor whose end says that whoever started the host is gone; None where that is no matter.
    """

    def __init__(
        self, connection: Connection, session: HostSession, children: Children, *, starter: int | None = None
    ) -> None:
        self._connection = connection
        self._session = session
        self._children = children
        self._starter = starter
        self._tokens: dict[str, str] = {}
        """Run to what it takes to be heard by it."""
        self._code: int | None = None
        self._signals, self._signalled = os.pipe()

    def run(self) -> int:
        """The exit code of the program."""
        self._listen_to_signals()
        # A host that was killed has left the folders of its processes.
        sweep()
        while self._code is None:
            self._handle(events.TimePassed())
            self._wait()
            self._receive()
            self._look_after_children()
        self._children.kill_all()
        sweep()
        self._connection.close()
        return self._code

    # ------------------------------------------------------------ what comes

    def _listen_to_signals(self) -> None:
        for end in (self._signals, self._signalled):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._signalled, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: None)

    def _wait(self) -> None:
        if self._code is not None:
            return
        deadlines = [self._session.next_deadline()]
        if (due := self._children.stacks_due()) is not None:
            deadlines.append(due)
        patience = max(0.0, min(deadlines) - time.monotonic())
        starter = [] if self._starter is None else [self._starter]
        ready = self._connection.poll(patience, [self._signals, *starter, *self._children.files()])
        if self._signals in ready:
            self._take_signals()
        if self._starter in ready:
            self._hear_starter(self._starter)

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._signals, 4096):
                # Who started it in a terminal ends it by Ctrl+C.
                if number in {signal.SIGTERM, signal.SIGINT}:
                    self._handle(events.TerminateAsked())

    def _hear_starter(self, starter: int) -> None:
        if not os.read(starter, 4096):
            self._starter = None
            self._handle(events.StarterGone())

    def _receive(self) -> None:
        while self._code is None and (frames := self._connection.receive()) is not None:
            run, message_frames = split_address(frames)
            try:
                message = _decode(run, message_frames)
            except RemoteProtocolError as error:
                print(f"a message that is none was passed over: {error}", file=sys.stderr)
                continue
            if isinstance(message, Grants):
                self._tokens.update({grant.run: grant.token for grant in message.grants})
            self._handle(events.Received(run, message))

    def _look_after_children(self) -> None:
        now = time.monotonic()
        self._children.listen()
        for child, stacks in self._children.stalled(now):
            self._handle(events.ProcessStalled(child, stacks))
        for ended in self._children.reap(now):
            # Whatever its exit code is: one whose run is over ends at once, in the middle of whatever it does.
            sweep()
            self._handle(events.ProcessEnded(ended.session, ended.code, ended.output, ended.lived))

    # ------------------------------------------------------------ what is done

    def _handle(self, event: events.Event) -> None:
        self._perform(self._session.handle(event, time.monotonic()))

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Say(run, message):
                    self._say(run, message)
                case StartProcess(child, grant):
                    self._start(child, grant)
                case GoBy(worker):
                    self._children.go_by(worker)
                case TerminateProcess(child):
                    self._children.terminate(child)
                case KillProcess(child):
                    self._children.kill(child)
                case Tell(text):
                    print(text, file=sys.stderr, flush=True)
                case Leave(code):
                    self._code = code

    def _say(self, run: str, message: Message) -> None:
        token = self._tokens.get(run, "")
        try:
            self._connection.send(with_address(run, encode(message), token=token))
        except KeyDeniedError as error:
            # Nobody will ever hear of what is in hand.
            print(f"refused: {error}", file=sys.stderr, flush=True)
            self._code = REFUSED

    def _start(self, child: str, grant: Grant) -> None:
        options = ["--run", grant.run]
        for step in grant.steps:
            options += ["--step", step]
        # Also when there are none: a process sees the gpus that were granted to it, and no others.
        environment = {"CUDA_VISIBLE_DEVICES": ",".join(grant.gpus)}
        if grant.token:
            # Not on the command line, which others can see.
            environment[RUN_TOKEN] = grant.token
        self._children.start(child, now=time.monotonic(), options=options, environment=environment)


def _decode(run: str, frames: list[bytes]) -> Message:
    if frames and frames[0] != VERSION and run == BROKER:
        # Whatever else it says, nothing can come of it.
        return Refused(
            reason=f"the broker speaks version {frames[0][:8].hex()} of the protocol, this worker {VERSION.hex()}",
            fix="Install the version of distilmq that the broker has.",
        )
    message, _ = decode(frames, TO_HOST if run == BROKER else TO_WORKER)
    return message

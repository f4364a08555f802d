"""The thread of a step process that owns the socket: it turns messages into events and carries commands out."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from distilmq.errors import RemoteProtocolError
from distilmq.protocol.codec import TO_WORKER, decode, encode
from distilmq.protocol.messages import Bye, ErrorInfo, Failed, Note, Result
from distilmq.transport.ports import Connection
from distilmq_workers.events import BeatDue, Begin, Command, Finished, Leave, LoadStep, Post, Received, StopAsking
from distilmq_workers.outbox import Outbox
from distilmq_workers.session import Session
from distilmq_workers.stalls import StallWatch

IDLE = 60.0
GRACE = 1.0
"""Seconds that user code gets to unload after it was told to leave at once."""


@dataclass(frozen=True, slots=True)
class Quit:
    """To the main thread: unload, and end the process."""

    reason: str = ""


Job = LoadStep | Begin | Quit


class Service:
    """Polls the connection and the outbox until the session leaves."""

    def __init__(
        self,
        connection: Connection,
        session: Session,
        *,
        name: str,
        outbox: Outbox,
        stop_asking: Callable[[], None],
        stalls: StallWatch,
    ) -> None:
        self._connection = connection
        self._session = session
        self._name = name
        self._outbox = outbox
        self._stop_asking = stop_asking
        self._stalls = stalls
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        """What the main thread is to do, in order."""
        self._next_beat: float | None = None
        self._left = False

    def run(self) -> None:
        """Says hello, then serves until the session leaves; closes the connection."""
        self._connection.send(encode(self._session.hello()))
        while not self._left:
            self._connection.poll(self._patience(time.monotonic()), [self._outbox.fileno()])
            self._receive()
            for event in self._outbox.take():
                if isinstance(event, Finished):
                    self._stalls.ended()
                    event = self._fitting(event)
                self._carry_out(self._session.handle(event))
            self._look_at_the_clock(time.monotonic())
        self._connection.close()

    def _receive(self) -> None:
        while not self._left and (frames := self._connection.receive()) is not None:
            try:
                message, payload = decode(frames, TO_WORKER)
            except RemoteProtocolError as error:
                note = Note(session=self._name, level="warning", event="bad_message", text=str(error))
                self._connection.send(encode(note))
                continue
            self._carry_out(self._session.handle(Received(message, payload)))

    def _carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Post(message=message, payload=payload):
                    self._connection.send(encode(message, payload))
                case LoadStep(assign=assign):
                    self._stalls.after = assign.stall_after
                    self.jobs.put(command)
                case Begin(batch=batch):
                    self._stalls.began(batch.lease, time.monotonic())
                    self.jobs.put(command)
                case StopAsking():
                    self._stop_asking()
                case Leave(now=now, reason=reason):
                    self._leave(now=now, reason=reason)

    def _leave(self, *, now: bool, reason: str) -> None:
        self._connection.send(encode(Bye(session=self._name, reason=reason)))
        self._left = True
        if now:
            self._connection.close()
            os._exit(1 if reason else 0)  # the user's code may never return: nothing is left to wait for
        self.jobs.put(Quit(reason))

    def _fitting(self, event: Finished) -> Finished:
        """A result that is too large to send is refused here, with the reason, before it is lost on the way."""
        largest = self._session.max_message
        size = sum(len(frame) for frame in event.payload)
        if largest is None or size <= largest or not isinstance(event.message, Result):
            return event
        text = f"a result of {size:,} bytes is larger than the {largest:,} of a message: make batches smaller"
        error = ErrorInfo(type="ResultTooLargeError", message=text)
        return Finished(event.lease, Failed(session=self._name, lease=event.lease, error=error))

    def _patience(self, now: float) -> float:
        deadlines = [when for when in (self._next_beat, self._stalls.deadline()) if when is not None]
        return max(0.0, min(deadlines) - now) if deadlines else IDLE

    def _look_at_the_clock(self, now: float) -> None:
        if self._session.heartbeat is not None and (self._next_beat is None or now >= self._next_beat):
            self._next_beat = now + self._session.heartbeat
            self._carry_out(self._session.handle(BeatDue()))
        note = self._stalls.look(now)
        if note is not None:
            self._connection.send(encode(note))

"""A client's conversation with the coordinator of one run: submit, follow, control, fetch, close."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from distilmq.errors import RunError
from distilmq.pipeline.failure import run_error
from distilmq.protocol import codec
from distilmq.protocol.messages import (
    Accepted,
    Control,
    Failures,
    Fetch,
    FetchFailures,
    FetchUsage,
    Finished,
    Hello,
    Message,
    Note,
    Progress,
    Refused,
    Rows,
    Secrets,
    Submit,
    UsageReport,
    Versions,
    Watch,
    Welcome,
    Who,
)
from distilmq.protocol.usage import WorkerUsage
from distilmq.transport.ports import Connection

PATIENCE = 30.0
"""Seconds in which a coordinator must say Welcome, or answer a request."""
FETCH_CREDIT = 32
"""Batches asked for at once."""

M = TypeVar("M", bound=Message)


class Follower(Protocol):
    """What the conversation tells while it waits for something else."""

    def progress(self, progress: Progress) -> None:
        """The state of the run has changed."""
        ...

    def note(self, note: Note) -> None:
        """A step or the coordinator has something to say."""
        ...


class Client:
    """Speaks for one session; everything happens in the thread that calls.

    Args:
        connection: to the coordinator; closed by `close`.
        session: unique to this conversation.
        check: called while waiting; raises when the coordinator is gone.
        follower: told of progress and notes.
        files: file descriptors that wake the wait, beside the socket.
        on_wake: called when one of them is readable.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        session: str,
        follower: Follower,
        check: Callable[[], None] = lambda: None,
        files: Sequence[int] = (),
        on_wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.finished: Finished | None = None
        self._connection = connection
        self._session = session
        self._follower = follower
        self._check = check
        self._files = tuple(files)
        self._on_wake = on_wake
        self._watching = False

    def open(self) -> Welcome:
        """Says Hello and waits for the Welcome."""
        self._hello()
        return self._expect((Welcome,), "welcome this client")[0]

    def submit(self, plan: bytes, secrets: Mapping[str, Mapping[str, str]]) -> Accepted | None:
        """Hands over a plan, and the secrets of its steps before it.

        Returns:
            The acceptance, or None when the end of the run came first.
        """
        values = {step: dict(fields) for step, fields in secrets.items()}
        self._send(Secrets(session=self._session, values=values))
        self._send(Submit(session=self._session), [plan])
        answer, _ = self._expect((Accepted, Finished), "accept the plan")
        return answer if isinstance(answer, Accepted) else None

    def follow(self) -> Finished:
        """Waits for the end of the run, telling the follower what happens."""
        self._watching = True
        self._send(Watch(session=self._session))
        while self.finished is None:
            self._receive(timeout=0.2)
        return self.finished

    def stop(self, timeout: float | None = None) -> None:
        """Asks for a drain: what is in flight is awaited for at most `timeout` seconds."""
        self._send(Control(session=self._session, action="stop", timeout=timeout))

    def kill(self) -> None:
        """Asks for the end, now."""
        self._send(Control(session=self._session, action="kill"))

    def pause(self) -> None:
        """Asks that nothing be handed out until `resume`."""
        self._send(Control(session=self._session, action="pause"))

    def resume(self) -> None:
        """Asks that batches be handed out again."""
        self._send(Control(session=self._session, action="resume"))

    def fetch(self, step: str) -> Iterator[bytes]:
        """The recorded output of a step, in the order of rows: each a msgpack array of rows.

        Raises:
            RunError: a record is damaged, so the rows from there on cannot be had.
        """
        cursor, last = "", False
        while not last:
            self._send(Fetch(session=self._session, step=step, cursor=cursor, credit=FETCH_CREDIT))
            for _ in range(FETCH_CREDIT):
                rows, payload = self._expect((Rows,), f"send the rows of '{step}'")
                cursor, last = rows.cursor, rows.last
                if payload:
                    yield payload[0]
                if last:
                    break

    def failures(self, step: str = "") -> list[dict[str, Any]]:
        """The dead letters of the run, of all steps or of one; they come some at a time, an empty message ends them."""
        self._send(FetchFailures(session=self._session, step=step))
        letters: list[dict[str, Any]] = []
        while True:
            answer, _ = self._expect((Failures,), "send the dead letters")
            if not answer.failures:
                return letters
            letters.extend(answer.failures)

    def usage(self) -> tuple[WorkerUsage, ...]:
        """What models took in all starts of the run, a total for each step, model and worker process."""
        self._send(FetchUsage(session=self._session))
        answer, _ = self._expect((UsageReport,), "say what models took")
        return answer.usage

    def leave(self) -> None:
        """Hangs up; the run goes on."""
        self._connection.close()

    def close(self) -> None:
        """Lets the coordinator go when its run is over, and hangs up."""
        self._send(Control(session=self._session, action="close"))
        self._connection.close()

    def _hello(self) -> None:
        from importlib import metadata  # here, not above: it takes 30 ms, and not every import is for a run

        versions = Versions(distilmq=metadata.version("distilmq"), python=platform.python_version())
        host = platform.node()
        self._send(
            Hello(
                role="client",
                worker=f"client-{host}",
                session=self._session,
                versions=versions,
                host=host,
                pid=os.getpid(),
            )
        )

    def _send(self, message: Message, payload: Sequence[bytes] = ()) -> None:
        self._connection.send(codec.encode(message, payload))

    def _expect(self, kinds: tuple[type[M], ...], what: str) -> tuple[M, list[bytes]]:
        deadline = time.monotonic() + PATIENCE
        known = self.finished
        while time.monotonic() < deadline:
            received = self._receive(timeout=0.2)
            if known is not None and self.finished != known:
                # The end that was known was not the end: the journal broke while it was read.
                raise run_error(self.finished or known)
            if received is not None and isinstance(received[0], kinds):
                return received[0], received[1]
        raise RunError(f"The coordinator did not {what} within {PATIENCE:.0f} s.")

    def _receive(self, timeout: float) -> tuple[Message, list[bytes]] | None:
        """The next message that is an answer; news is told to the follower on the way."""
        frames = self._connection.receive()
        if frames is None:
            woken = self._connection.poll(timeout, self._files)
            if woken:
                self._on_wake()
            frames = self._connection.receive()
        if frames is None:
            self._check()
            return None
        message, payload = codec.decode(frames, codec.TO_CLIENT)
        self._tell(message)
        return message, payload

    def _tell(self, message: Message) -> None:
        match message:
            case Progress():
                self._follower.progress(message)
            case Note():
                self._follower.note(message)
            case Finished():
                self.finished = message
            case Who():
                self._hello()
                if self._watching:
                    self._send(Watch(session=self._session))
            case Refused():
                raise RunError(f"The coordinator refused: {message.reason} {message.fix}".rstrip())
            case _:
                return

"""A client's conversation with the coordinator of one run: submit, follow, control, fetch, close."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from distilmq.errors import RunError
from distilmq.pipeline.failure import run_error
from distilmq.protocol import codec
from distilmq.protocol.messages import (
    Accepted,
    Control,
    Describe,
    Described,
    Failures,
    Fetch,
    FetchFailures,
    FetchFile,
    FetchUsage,
    FileInfo,
    FileList,
    FilePart,
    Finished,
    Hello,
    ListFiles,
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
"""Seconds in which a coordinator on this machine answers."""
FETCH_CREDIT = 8
"""Messages with rows asked for at once, each of a few megabytes at most."""
ASK_AGAIN = 5.0
"""Seconds without an answer after which rows are asked for again: the request, or the answer, may be lost."""

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
        patience: seconds in which a coordinator must say Welcome, or answer a request.
        trusted: the run's workers are this user's own processes, so that what they raised may be unpickled.
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
        patience: float = PATIENCE,
        trusted: bool = False,
    ) -> None:
        self.trusted = trusted
        self.finished: Finished | None = None
        self._connection = connection
        self._session = session
        self._follower = follower
        self._check = check
        self._files = tuple(files)
        self._on_wake = on_wake
        self._watching = False
        self._patience = patience
        self._greeted = 0
        """How often a coordinator did not know us, and was told."""

    def open(self) -> Welcome:
        """Says Hello and waits for the Welcome."""
        self._hello()
        return self._expect((Welcome,), "welcome this client")[0]

    def submit(self, plan: bytes, secrets: Mapping[str, Mapping[str, str]]) -> Accepted | None:
        """Hands over a plan, and the secrets of its steps before it.

        Returns:
            The acceptance, or None when the end of the run came first.
        """
        self.give_secrets(secrets)
        self._send(Submit(session=self._session), [plan])
        answer, _ = self._expect((Accepted, Finished), "accept the plan")
        return answer if isinstance(answer, Accepted) else None

    def give_secrets(self, secrets: Mapping[str, Mapping[str, str]]) -> None:
        """Hands over the secrets of steps: step to dotted field to value."""
        values = {step: dict(fields) for step, fields in secrets.items()}
        self._send(Secrets(session=self._session, values=values))

    def follow(self) -> Finished:
        """Waits for the end of the run, telling the follower what happens."""
        self._watching = True
        self._send(Watch(session=self._session))
        heard = time.monotonic()
        while self.finished is None:
            if self._receive(timeout=0.2) is not None:
                heard = time.monotonic()
            elif time.monotonic() >= heard + ASK_AGAIN:
                # Another coordinator may have taken the run over, and know nothing of us.
                self._send(Watch(session=self._session))
                heard = time.monotonic()
        return self.finished

    def progress(self) -> Progress:
        """Where the run is."""
        self._send(Watch(session=self._session))
        return self._expect((Progress,), "say where the run is")[0]

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
        asked = time.monotonic()
        while not last:
            greeted = self._greeted
            self._send(Fetch(session=self._session, step=step, cursor=cursor, credit=FETCH_CREDIT))
            for _ in range(FETCH_CREDIT):
                following = partial(_follows, step=step, cursor=cursor)
                received = self._await((Rows,), ASK_AGAIN, following, unless=partial(self._greeted_since, greeted))
                if received is None:
                    break
                rows, payload = received
                cursor, last = rows.cursor, rows.last
                if payload:
                    yield payload[0]
                asked = time.monotonic()
                if last:
                    break
            if time.monotonic() >= asked + self._patience:
                raise RunError(f"The coordinator did not send the rows of '{step}' within {self._patience:.0f} s.")

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

    def describe(self) -> Described:
        """The run, and what its dataset is to be."""
        self._send(Describe(session=self._session))
        described, payload = self._expect((Described,), "say what it runs")
        config = b"".join(payload).decode(errors="surrogatepass")
        return described.model_copy(update={"dataset": described.dataset.model_copy(update={"config": config})})

    def files(self) -> tuple[FileInfo, ...]:
        """The artifacts of the run."""
        self._send(ListFiles(session=self._session))
        return self._expect((FileList,), "list the artifacts")[0].files

    def read_file(self, file: FileInfo) -> Iterator[bytes]:
        """An artifact, piece by piece."""
        offset = 0
        while offset < file.size:
            self._send(FetchFile(session=self._session, path=file.path, offset=offset))
            _, payload = self._expect((FilePart,), f"send the artifact '{file.path}'")
            if not payload or not payload[0]:
                raise RunError(f"The artifact '{file.path}' ends after {offset} of {file.size} bytes.")
            yield payload[0]
            offset += len(payload[0])

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
        received = self._await(kinds, self._patience)
        if received is None:
            why = f": {self._connection.trouble}" if self._connection.trouble else "."
            raise RunError(f"The coordinator did not {what} within {self._patience:.0f} s{why}")
        return received

    def _await(
        self,
        kinds: tuple[type[M], ...],
        seconds: float,
        wanted: Callable[[M], bool] = lambda message: True,
        unless: Callable[[], bool] = lambda: False,
    ) -> tuple[M, list[bytes]] | None:
        """The next message of some kinds that is wanted; None when the time is over, or something came between."""
        deadline = time.monotonic() + seconds
        known = self.finished
        while time.monotonic() < deadline and not unless():
            received = self._receive(timeout=0.2)
            if known is not None and self.finished != known:
                # The end that was known was not the end: the journal broke while it was read.
                raise run_error(self.finished or known, trusted=self.trusted)
            if received is not None and isinstance(received[0], kinds) and wanted(received[0]):
                return received[0], received[1]
        return None

    def _greeted_since(self, greeted: int) -> bool:
        """Whether the coordinator has asked who we are, and so knows nothing of what it was asked before."""
        return self._greeted != greeted

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
                self._greeted += 1
                self._hello()
                if self._watching:
                    self._send(Watch(session=self._session))
            case Refused():
                raise RunError(f"The coordinator refused: {message.reason} {message.fix}".rstrip())
            case _:
                return


def _follows(rows: Rows, *, step: str, cursor: str) -> bool:
    """Whether these are the rows behind a cursor: what was asked twice comes twice, and what was lost leaves a gap."""
    return rows.step == step and rows.after in (None, cursor)

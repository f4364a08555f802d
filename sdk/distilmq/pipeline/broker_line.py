"""What a client asks a broker itself: to take a run, to control it, which runs there are."""

from __future__ import annotations

import os
import secrets
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from distilmq.errors import DistilmqUserError, RunError
from distilmq.pipeline.data_files import Send
from distilmq.protocol import codec
from distilmq.protocol.broker_codec import FROM_BROKER
from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.messages import Message, Refused
from distilmq.protocol.messages.runs import (
    ControlRun,
    DataWanted,
    Denied,
    ListRuns,
    LogPart,
    ReadLog,
    ReviseRun,
    RunChanged,
    RunInfo,
    RunList,
    RunShown,
    RunStarted,
    ShowRun,
    StartRun,
    Upload,
    Uploaded,
)
from distilmq.transport.addressed import Addressed
from distilmq.transport.ports import Connection

PATIENCE = 60.0
"""Seconds in which a broker must answer; it may be starting again meanwhile."""
ASK_AGAIN = 3.0
"""Seconds without an answer after which a question is put again: all of them may be put twice."""

SLOWEST = 250_000.0
"""Bytes per second that a line takes at least: a large plan is not sent again while it is still on its way."""

M = TypeVar("M", bound=Message)


def connect_to(broker: str | os.PathLike[str] | None) -> Connection:
    """A connection to a broker, as a client.

    Args:
        broker: a connection file; `tcp://HOST:PORT` of a broker whose connection file `DISTILMQ_CONNECTION` names; or
            `ipc://PATH` of one that runs for this user only.

    Raises:
        DistilmqUserError: there is no such file, or it cannot be used.
    """
    if broker is not None and str(broker).startswith("ipc://"):
        from distilmq.transport.zeromq import connect

        return connect(str(broker))
    from distilmq.transport.connection_file import find_connection

    target = Path(broker) if isinstance(broker, os.PathLike) else broker
    return find_connection(target, role="client", environment=os.environ).connect()


class BrokerLine:
    """Speaks with a broker; the caller waits for each answer.

    Args:
        connect: makes a connection; closed by `close`.
        patience: seconds in which the broker must answer.
    """

    def __init__(self, connect: Callable[[], Connection], *, patience: float = PATIENCE) -> None:
        self._connection = Addressed(connect())
        self._session = secrets.token_hex(8)
        self._patience = patience

    def __enter__(self) -> BrokerLine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(
        self,
        run: str,
        plan: bytes,
        *,
        key: str,
        weight: float,
        send_data: Callable[[Send, Sequence[str]], None] | None = None,
    ) -> RunStarted:
        """Has the broker take a plan, or say which unfinished run it is the plan of already.

        Args:
            run: the id of a new run.
            plan: encoded.
            key: what makes two submissions the same.
            weight: of the run.
            send_data: sends the data files that the broker wants, by their digests.
        """
        message = StartRun(session=self._session, run=run, key=key, weight=weight)

        def concerned(answer: RunStarted | DataWanted) -> bool:
            return (answer.asked if isinstance(answer, RunStarted) else answer.run) == run

        while True:
            answer, _ = self._answer(message, (RunStarted, DataWanted), concerned, [plan])
            if isinstance(answer, RunStarted):
                return answer
            if send_data is None:
                raise RunError("The broker wants data that the plan does not have.")
            send_data(lambda digest, offset, data: self._upload(run, digest, offset, data), answer.digests)

    def revise(self, run: str, of: str, only: FailureFilter) -> RunStarted:
        """Has failed rows of a run that is over computed again, in a run of its own.

        Args:
            run: the id of the new run.
            of: the run that is revised.
            only: which of its failed rows.
        """
        message = ReviseRun(session=self._session, run=run, of=of, only=only)
        return self._ask(message, RunStarted, lambda answer: answer.asked == run)

    def _upload(self, run: str, digest: str, offset: int, data: bytes) -> int:
        message = Upload(session=self._session, run=run, digest=digest, offset=offset, crc=zlib.crc32(data))
        answer = self._ask(message, Uploaded, lambda answer: answer.digest == digest, [data])
        return answer.size

    def control(self, run: str, action: str, timeout: float | None = None) -> None:
        """Wants something of a run: see `ControlRun`."""
        message = ControlRun.model_validate(
            {"session": self._session, "run": run, "action": action, "timeout": timeout}
        )
        self._ask(message, RunChanged, lambda answer: answer.run == run)

    def runs(self) -> tuple[RunInfo, ...]:
        """All runs, the last submitted one first."""
        return self._ask(ListRuns(session=self._session), RunList).runs

    def run(self, run: str) -> RunInfo:
        """One run.

        Raises:
            DistilmqUserError: there is none of that id.
        """
        found = next((info for info in self.runs() if info.run == run), None)
        if found is None:
            raise DistilmqUserError(f"The broker has no run '{run}': `distilmq runs list` shows those that it has.")
        return found

    def show(self, run: str) -> RunShown:
        """All there is to say about a run.

        Raises:
            DistilmqUserError: there is none of that id.
        """
        return self._ask(ShowRun(session=self._session, run=run), RunShown, lambda answer: answer.info.run == run)

    def log(self, run: str, offset: int = 0) -> tuple[bytes, int]:
        """Lines of a run's log from a byte on, and where the next ones begin."""
        message = ReadLog(session=self._session, run=run, offset=offset)
        part, payload = self._answer(message, (LogPart,), lambda answer: answer.run == run)
        return b"".join(payload), part.offset

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()

    def _ask(
        self,
        message: Message,
        kind: type[M],
        wanted: Callable[[M], bool] = lambda answer: True,
        payload: Sequence[bytes] = (),
    ) -> M:
        return self._answer(message, (kind,), wanted, payload)[0]

    def _answer(
        self,
        message: Message,
        kinds: tuple[type[M], ...],
        wanted: Callable[[M], bool] = lambda answer: True,
        payload: Sequence[bytes] = (),
    ) -> tuple[M, list[bytes]]:
        size = sum(map(len, payload))
        deadline = time.monotonic() + self._patience + size / SLOWEST
        while (now := time.monotonic()) < deadline:
            self._connection.send(codec.encode(message, payload))
            again_at = min(deadline, now + ASK_AGAIN + size / SLOWEST)
            while (left := again_at - time.monotonic()) > 0:
                received = self._received(left)
                if received is not None and isinstance(received[0], kinds) and wanted(received[0]):
                    return received[0], received[1]
        why = self._connection.trouble or "is it running, and can this machine reach it?"
        raise RunError(f"The broker did not answer within {self._patience:.0f} s: {why}")

    def _received(self, seconds: float) -> tuple[Message, list[bytes]] | None:
        frames = self._connection.receive()
        if frames is None:
            self._connection.poll(seconds)
            frames = self._connection.receive()
        if frames is None:
            return None
        message, payload = codec.decode(frames, FROM_BROKER)
        if isinstance(message, (Denied, Refused)):
            raise DistilmqUserError(f"The broker says: {message.reason}{'; ' + message.fix if message.fix else ''}.")
        return message, payload

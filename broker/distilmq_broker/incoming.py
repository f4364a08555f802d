"""Results that come in parts: each part but the first is on the disk before the next ones are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from distilmq.errors import JournalError
from distilmq.protocol.messages import Lease, PartKept
from distilmq.protocol.seq_no import SeqNo
from distilmq_broker.core.events import CommitFailed, Committed
from distilmq_broker.logbook import Logbook
from distilmq_broker.payloads import array_length
from distilmq_broker.ports import Journal, LargePayload
from distilmq_broker.post import Post
from distilmq_broker.sessions import Sessions
from distilmq_broker.settings import MAX_MESSAGE

_Key = tuple[str, str, SeqNo, int]
_HEAD = 5
"""Bytes at the beginning of an array that say how many rows it has."""


@dataclass(frozen=True, slots=True)
class ResultBytes:
    """What a `ResultPart` brings."""

    number: int
    rows: int
    data: bytes


class IncomingResults:
    """The results of one run that have begun to come: of each step process by itself, so that two never mix.

    Args:
        journal: writes them.
        sessions: who is there; what comes of others is dropped.
        post: tells who sends them how much is here.
        log: of the run.
    """

    def __init__(self, journal: Journal, sessions: Sessions, post: Post, log: Logbook) -> None:
        self._journal = journal
        self._sessions = sessions
        self._post = post
        self._log = log
        self._coming: dict[_Key, _Coming] = {}
        self._news: CommitFailed | Committed | None = None
        self._failing = False

    def keep(self, session: str, lease: Lease, part: ResultBytes | None) -> None:
        """Writes a part, if it is the next one, and says how many there are; without one, only says that."""
        key = _key(session, lease)
        coming = self._coming.get(key)
        if part is not None and part.number == (0 if coming is None else coming.parts):
            try:
                coming = self._begin(key) if coming is None else coming
                coming.add(part)
            except JournalError as error:
                # Its sender offers it again later.
                self._log.error("part_not_kept", lease=lease.model_dump(), number=part.number, reason=str(error))
                self._failing, self._news = True, CommitFailed(str(error))
                return
            if self._failing:
                self._failing, self._news = False, Committed(0)
        self._post.send(session, PartKept(lease=lease, parts=0 if coming is None else coming.parts))

    def whole(self, session: str, lease: Lease, parts: int) -> LargePayload | bytes | None:
        """Takes out the rows of a result that is said to have so many parts; None where they are not all here."""
        coming = self._coming.get(_key(session, lease))
        if coming is None or coming.parts != parts:
            return None
        del self._coming[_key(session, lease)]
        return coming.payload

    def forget(self, session: str, lease: Lease) -> None:
        """Nobody waits for that result (any more)."""
        if self._coming and (coming := self._coming.pop(_key(session, lease), None)) is not None:
            coming.abandon()

    def news(self) -> CommitFailed | Committed | None:
        """Whether the disk takes them no more, or takes them again; each is told once."""
        news, self._news = self._news, None
        return news

    def _begin(self, key: _Key) -> _Coming:
        for known in [known for known in self._coming if self._sessions.find(known[0]) is None]:
            self._coming.pop(known).abandon()
        return self._coming.setdefault(key, _Coming(self._journal.begin_large))


class _Coming:
    """One result of which parts are here. The first waits in memory for a second one: most that have one have no more.

    Args:
        begin: makes the place on disk.
    """

    def __init__(self, begin: Callable[[], LargePayload]) -> None:
        self.parts = 0
        self._begin = begin
        self._only: ResultBytes | None = None
        self._payload: LargePayload | None = None
        self._head = b""
        """The first bytes of the array that is being written."""
        self._length = 0
        """Its bytes so far."""

    @property
    def payload(self) -> LargePayload | bytes | None:
        """What is here."""
        return self._only.data if self._only is not None else self._payload

    def add(self, part: ResultBytes) -> None:
        """Takes the next part.

        Raises:
            JournalError: it cannot be written, and is not here.
        """
        if not self.parts and part.rows:
            self._only = part
        else:
            if self._payload is None:
                self._payload = self._begin()
            if self._only is not None:
                self._write(self._payload, self._only)
                self._only = None
            self._write(self._payload, part)
        self.parts += 1

    def abandon(self) -> None:
        """Nobody wants it."""
        if self._payload is not None:
            self._payload.abandon()

    def _write(self, payload: LargePayload, part: ResultBytes) -> None:
        """What is no array of as many rows is not counted as rows: the result will not match."""
        payload.write(part.data)
        self._length += len(part.data)
        self._head += part.data[: _HEAD - len(self._head)] if len(self._head) < _HEAD else b""
        if part.rows or self._length > MAX_MESSAGE:
            right = array_length(self._head) == part.rows and self._length <= MAX_MESSAGE
            payload.end_piece(part.rows if right else 0)
            self._head, self._length = b"", 0


def _key(session: str, lease: Lease) -> _Key:
    return session, lease.step, lease.seq_no, lease.part

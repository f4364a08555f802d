"""Several records, one commit: when the socket is dry, at 64 records, or 5 ms after the first."""

from __future__ import annotations

from distilmq.errors import JournalError
from distilmq_broker.core.events import CommitFailed, Committed
from distilmq_broker.core.facts import Fact
from distilmq_broker.crash_points import CrashPoints
from distilmq_broker.ports import Journal, Payload

MAX_RECORDS = 64
MAX_WAIT = 0.005
RETRY_AFTER = 1.0


class GroupCommit:
    """What is recorded and not yet durable."""

    def __init__(self, journal: Journal, crash: CrashPoints) -> None:
        self._journal = journal
        self._crash = crash
        self._ticket = 0
        self._records = 0
        self._since = 0.0
        self._retry_at: float | None = None

    def add(self, ticket: int, fact: Fact, payload: Payload | None, now: float) -> None:
        """Notes a fact for the next commit."""
        self._journal.append(fact, payload)
        if not self._records:
            self._since = now
        self._records += 1
        self._ticket = ticket

    def due(self, now: float, *, dry: bool) -> bool:
        """Whether to commit now."""
        if not self._records:
            return False
        if self._retry_at is not None:
            return now >= self._retry_at
        return dry or self._records >= MAX_RECORDS or now >= self._since + MAX_WAIT

    def deadline(self) -> float | None:
        """When to commit at the latest, or to try again."""
        if not self._records:
            return None
        return self._retry_at if self._retry_at is not None else self._since + MAX_WAIT

    def commit(self, now: float) -> Committed | CommitFailed:
        """Commits; when that fails, nothing is lost and it is tried again a second later."""
        try:
            self._journal.commit()
        except JournalError as error:
            self._retry_at = now + RETRY_AFTER
            return CommitFailed(str(error))
        self._records = 0
        self._retry_at = None
        self._crash.reach("before_ack")
        return Committed(self._ticket)

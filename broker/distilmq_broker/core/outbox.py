"""The barrier: what follows from a fact leaves only after the fact is durable, and in order."""

from __future__ import annotations

from collections import deque

from distilmq_broker.core.commands import Command, Record, SendBatch
from distilmq_broker.core.facts import Fact


class Outbox:
    """Commands on their way out.

    A `Record` leaves at once. Everything emitted behind it waits until a `Committed` covers its ticket; records
    with nothing between them are covered by one commit.
    """

    def __init__(self) -> None:
        self.ticket = 0
        """Of the last record."""
        self.committed = 0
        """The last ticket known to be durable."""
        self._out: list[Command] = []
        self._waiting: deque[tuple[int, Command]] = deque()

    def record(self, fact: Fact, payload: object = None) -> None:
        """Makes a fact durable."""
        self.ticket += 1
        self._out.append(Record(self.ticket, fact, payload))

    def emit(self, command: Command) -> None:
        """Sends a command out behind all records so far."""
        if self.ticket > self.committed:
            self._waiting.append((self.ticket, command))
        else:
            self._out.append(command)

    def urge(self, command: Command) -> None:
        """Sends out at once what follows from no fact: a second Ctrl+C must not wait for a full disk."""
        self._out.append(command)

    def commit(self, ticket: int) -> None:
        """All records up to this ticket are durable."""
        self.committed = max(self.committed, min(ticket, self.ticket))
        while self._waiting and self._waiting[0][0] <= self.committed:
            self._out.append(self._waiting.popleft()[1])

    def recall(self) -> list[SendBatch]:
        """Takes back the hand-outs that have not left."""
        recalled = [command for _, command in self._waiting if isinstance(command, SendBatch)]
        self._waiting = deque(each for each in self._waiting if not isinstance(each[1], SendBatch))
        return recalled

    def abandon(self) -> None:
        """Forgets what still waits: the run ends without it."""
        self._waiting.clear()

    def take(self) -> list[Command]:
        """What may leave now."""
        out, self._out = self._out, []
        return out

"""A journal in memory: what is appended is lost with the coordinator until it is committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from distilmq_broker.core.commands import Record
from distilmq_broker.core.facts import AnswerRecorded, BatchRecorded, Fact, RouteRecorded, RowsBuried, Slice
from tests.broker.core.behaviour import Behaviour

Key = tuple[str, tuple[int, ...], int]


class MemoryJournal:
    """Facts and rows of one run."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.facts: list[Fact] = []
        """Committed."""
        self.appended: list[Record] = []
        self.rows: dict[Key, list[str]] = {}
        """Of committed batches."""
        self._parts: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        self.routes: dict[tuple[str, tuple[int, ...]], tuple[str, ...]] = {}

    def append(self, record: Record) -> None:
        """Adds a fact, durable with the next commit."""
        self.appended.append(record)

    def commit(self) -> int:
        """Makes what was appended durable; the last ticket."""
        ticket = self.appended[-1].ticket
        for record in self.appended:
            self.facts.append(record.fact)
            self._store(record)
        self.appended.clear()
        return ticket

    def crash(self) -> None:
        """What was not committed is lost."""
        self.appended.clear()

    def whole(self, step: str, seq_no: tuple[int, ...]) -> list[str]:
        """The rows of a batch, its parts joined."""
        parts = sorted(self._parts.get((step, seq_no), ()), key=tree_path)
        return [row for part in parts for row in self.rows[step, seq_no, part]]

    def taken(self, slices: Iterable[Slice]) -> list[str]:
        """The rows of some slices."""
        return [row for part in slices for row in self.whole(part.step, part.seq_no)[part.start : part.stop]]

    def holds(self, step: str, seq_no: tuple[int, ...]) -> bool:
        """Whether a batch, or a part of it, is committed."""
        return (step, seq_no) in self._parts

    def values(self, step: str) -> list[str]:
        """All rows of a step, in order."""
        numbers = sorted(seq_no for name, seq_no in self._parts if name == step)
        return [row for seq_no in numbers for row in self.whole(step, seq_no)]

    def forget(self, batches: Mapping[str, Iterable[tuple[int, ...]]]) -> None:
        """Some batches are not recorded any more; choices that were made about them are."""
        gone = {(step, number) for step, numbers in batches.items() for number in numbers}
        self.facts = [
            fact
            for fact in self.facts
            if isinstance(fact, RouteRecorded | AnswerRecorded) or (fact.step, fact.seq_no) not in gone
        ]
        self.rows = {key: rows for key, rows in self.rows.items() if key[:2] not in gone}
        self._parts = {key: parts for key, parts in self._parts.items() if key not in gone}

    def _store(self, record: Record) -> None:
        fact = record.fact
        if isinstance(fact, BatchRecorded):
            assert isinstance(record.payload, list)
            self._put((fact.step, fact.seq_no, fact.part), record.payload)
        elif isinstance(fact, RowsBuried):
            names = {slices[0].step: self.taken(slices) for slices in fact.inputs if slices}
            self._put((fact.step, fact.seq_no, fact.part), [self.behaviour.buried(fact.step, names)])
        elif isinstance(fact, RouteRecorded):
            assert (fact.step, fact.seq_no) not in self.routes, f"routed twice: {fact}"
            self.routes[fact.step, fact.seq_no] = fact.successors

    def _put(self, key: Key, rows: list[str]) -> None:
        assert key not in self.rows, f"recorded twice: {key}"
        self.rows[key] = rows
        self._parts.setdefault(key[:2], []).append(key[2])


def tree_path(part: int) -> tuple[int, ...]:
    """Where a part of a halved batch stands: its turns, left or right, from the whole batch down."""
    turns: list[int] = []
    while part:
        turns.append((part - 1) % 2)
        part = (part - 1) // 2
    return tuple(reversed(turns))

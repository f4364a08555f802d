"""The answers of models for one batch: those recorded before, and those that come while it is worked on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from distilmq.models.requests.answers import KnownAnswer
from distilmq.models.requests.sources import Generation
from distilmq.protocol.messages import UselessAnswer
from distilmq.protocol.packing import UnpackError, unpack
from distilmq_workers.row_answers import RowAnswers

Keep = Callable[[int, bytes, int, bytes], None]
"""Takes row, key, occurrence and answer, and records them."""
Recorded = tuple[int, bytes, int, bytes] | tuple[int, bytes, int, bytes, tuple[int, ...]]
"""Row, key, occurrence and answer; and of one that outlived a failure of its row, the generations of no use."""


class BatchAnswers:
    """Answers by the row's place in the batch; they outlast the halves in which a failing batch is tried.

    Args:
        recorded: row, key, occurrence and answer of those that the batch came with; of those that an earlier failure
            of their row left, also which of their generations were of no use.
        keep: told of each new one.
        draining: whether no new request may be sent.
    """

    def __init__(self, recorded: Iterable[Recorded], *, keep: Keep, draining: Callable[[], bool]) -> None:
        self._answers: defaultdict[tuple[int, bytes], dict[int, bytes]] = defaultdict(dict)
        self._lost: dict[tuple[int, bytes, int], tuple[int, ...]] = {}
        self._rows: dict[int, RowAnswers] = {}
        for row, key, occurrence, answer, *lost in recorded:
            self._answers[row, key][occurrence] = answer
            if lost:
                self._lost[row, key, occurrence] = lost[0]
        self._keep = keep
        self.draining = draining

    def page(self, places: Sequence[int]) -> AnswerPage:
        """The book for one call of `process` with the rows at these places."""
        for place in places:
            self._rows.pop(place, None)  # what an earlier call has used says nothing of this one
        return AnswerPage(self, places)

    def answers(self, row: int, key: bytes) -> list[KnownAnswer]:
        """Those to one request of one row, in order."""
        known = self._answers.get((row, key), {})
        return [
            KnownAnswer(known[occurrence], occurrence, self._lost.get((row, key, occurrence), ()))
            for occurrence in sorted(known)
        ]

    def row(self, row: int) -> RowAnswers:
        """What was used for a row since it was last in the hands of `process`."""
        return self._rows.setdefault(row, RowAnswers())

    def useless(self, row: int) -> tuple[UselessAnswer, ...]:
        """Of the answers to a row that failed, those that are to be asked for anew."""
        used = self._rows.get(row)
        if used is None:
            return ()
        return tuple(used.useless(lambda source: self._lost.get((row, source.key, source.occurrence))))

    def answered(self, row: int, key: bytes) -> Collection[int]:
        """Which of several equal requests of a row have an answer."""
        return self._answers.get((row, key), {}).keys()

    def add(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        """Records the next answer, or the one of an occurrence, and says which it is."""
        known = self._answers[row, key]
        occurrence = max(known, default=-1) + 1 if occurrence is None else occurrence
        known[occurrence] = answer
        self._keep(row, key, occurrence, answer)
        return occurrence


class AnswerPage:
    """What models see of it during one call of `process`; see `distilmq.models.requests.answers.AnswerBook`."""

    def __init__(self, book: BatchAnswers, places: Sequence[int]) -> None:
        self._book = book
        self._places = places
        self._found: defaultdict[tuple[int, bytes], int] = defaultdict(int)

    def draining(self) -> bool:
        """Whether no new request may be sent."""
        return self._book.draining()

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        """The next answer to this request of this row, or None."""
        place = self._found[row, key]
        answers = self._book.answers(self._places[row], key)
        if place >= len(answers):
            return None
        self._found[row, key] = place + 1
        return answers[place]

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        """Records an answer to this request of this row; it was given, so it is not found again."""
        occurrence = self._book.add(self._places[row], key, answer, occurrence)
        self._found[row, key] = len(self._book.answered(self._places[row], key))
        return occurrence

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """A model's outputs for a row, by one call: what they were made of."""
        self._book.row(self._places[row]).gave(generations)

    def spoil(self, row: int, generation: int) -> None:
        """One of the generations that the last call gave for a row is of no use."""
        self._book.row(self._places[row]).spoil(generation)


def recorded_answers(frame: bytes) -> list[Recorded]:
    """The answers that a batch came with; a frame that holds none gives none: they are only a saving."""
    try:
        entries: Any = unpack(frame)
        return [_recorded(*entry) for entry in entries]
    except (UnpackError, TypeError, ValueError):
        return []


def _recorded(row: Any, key: Any, occurrence: Any, answer: Any, lost: Any = None) -> Recorded:
    known = (int(row), bytes(key), int(occurrence), bytes(answer))
    return known if lost is None else (*known, tuple(map(int, lost)))

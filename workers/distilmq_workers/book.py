"""The answers of models for one batch: those recorded before, and those that come while it is worked on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from distilmq.models.requests.answers import ANY_ROW, KnownAnswer
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
        self._loose: defaultdict[bytes, list[tuple[int, int]]] = defaultdict(list)
        """Row and occurrence of answers of which is not known which row they are for."""
        for row, key, occurrence, answer, *lost in recorded:
            self._answers[row, key][occurrence] = answer
            if lost:
                self._lost[row, key, occurrence] = lost[0]
        self._holders: defaultdict[bytes, list[int]] | None = None
        """Request to the rows under which answers to it are recorded, once somebody asks."""
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

    def of_any_row(self, key: bytes) -> Iterator[tuple[int, KnownAnswer]]:
        """Those to one request, whichever row it is for: the row under which each is recorded, and the answer."""
        if self._holders is None:
            self._holders = defaultdict(list)
            for row, known in self._answers:
                self._holders[known].append(row)
        for row in self._holders[key]:
            yield from ((row, answer) for answer in self.answers(row, key))

    def set_loose(self, row: int, key: bytes, occurrence: int) -> None:
        """It is not known which row this answer is for: it is the next one's that asks for it alone."""
        self._loose[key].append((row, occurrence))

    def claimed(self, row: int, key: bytes, occurrence: int) -> None:
        """It is known now which row this answer is for."""
        if key in self._loose and (row, occurrence) in self._loose[key]:
            self._loose[key].remove((row, occurrence))

    def claim(self, row: int, key: bytes) -> None:
        """Records an answer that nobody has claimed under a row that asks for it alone, if there is one."""
        if waiting := self._loose.get(key):
            holder, occurrence = waiting.pop(0)
            if holder != row:
                self.add(row, key, self._answers[holder, key][occurrence])

    def answered(self, row: int, key: bytes) -> Collection[int]:
        """Which of several equal requests of a row have an answer."""
        return self._answers.get((row, key), {}).keys()

    def add(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        """Records the next answer, or the one of an occurrence, and says which it is."""
        known = self._answers[row, key]
        if self._holders is not None and not known:
            self._holders[key].append(row)
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
        self._taken: set[tuple[int, bytes, int]] = set()
        """Answers that this call was given of requests that may be for any row."""

    def draining(self) -> bool:
        """Whether no new request may be sent."""
        return self._book.draining()

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        """The next answer to this request of this row, or None."""
        alone = len(self._places) == 1
        if row == ANY_ROW and not alone:
            return self._find_any(key)
        own, place = self._places[max(row, 0)], self._found[row, key]
        if alone and place >= len(self._book.answered(own, key)):
            self._book.claim(own, key)
        answers = self._book.answers(own, key)
        if place >= len(answers):
            return None
        self._found[row, key] = place + 1
        if alone:
            self._book.claimed(own, key, answers[place].occurrence)
        return answers[place]

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        """Records an answer to this request of this row; it was given, so it is not found again."""
        place = self._places[max(row, 0)]
        occurrence = self._book.add(place, key, answer, occurrence)
        self._found[row, key] = len(self._book.answered(place, key))
        if row == ANY_ROW and len(self._places) > 1:
            self._taken.add((place, key, occurrence))
            self._book.set_loose(place, key, occurrence)
        return occurrence

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """A model's outputs for a row, by one call: what they were made of."""
        if (place := self._place(row)) is not None:
            self._book.row(place).gave(generations)

    def spoil(self, row: int, generation: int) -> None:
        """One of the generations that the last call gave for a row is of no use."""
        if (place := self._place(row)) is not None:
            self._book.row(place).spoil(generation)

    def _find_any(self, key: bytes) -> KnownAnswer | None:
        for row, answer in self._book.of_any_row(key):
            if (row, key, answer.occurrence) not in self._taken:
                self._taken.add((row, key, answer.occurrence))
                return answer
        return None

    def _place(self, row: int) -> int | None:
        """The row's place in the batch; of a request for any row, where there is but one."""
        if row == ANY_ROW:
            return self._places[0] if len(self._places) == 1 else None
        return self._places[row] if row < len(self._places) else None


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

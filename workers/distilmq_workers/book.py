"""The answers of models for one batch: those recorded before, and those that come while it is worked on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from distilmq.protocol.packing import UnpackError, unpack

Keep = Callable[[int, bytes, int, bytes], None]
"""Takes row, key, occurrence and answer, and records them."""


class BatchAnswers:
    """Answers by the row's place in the batch; they outlast the halves in which a failing batch is tried.

    Args:
        recorded: row, key, occurrence and answer of those that the batch came with.
        keep: told of each new one.
        draining: whether no new request may be sent.
    """

    def __init__(
        self, recorded: Iterable[tuple[int, bytes, int, bytes]], *, keep: Keep, draining: Callable[[], bool]
    ) -> None:
        self._answers: defaultdict[tuple[int, bytes], dict[int, bytes]] = defaultdict(dict)
        for row, key, occurrence, answer in recorded:
            self._answers[row, key][occurrence] = answer
        self._keep = keep
        self.draining = draining

    def page(self, places: Sequence[int]) -> AnswerPage:
        """The book for one call of `process` with the rows at these places."""
        return AnswerPage(self, places)

    def answers(self, row: int, key: bytes) -> list[bytes]:
        """Those to one request of one row, in order."""
        known = self._answers.get((row, key))
        return [] if known is None else [known[occurrence] for occurrence in sorted(known)]

    def answered(self, row: int, key: bytes) -> Collection[int]:
        """Which of several equal requests of a row have an answer."""
        return self._answers.get((row, key), {}).keys()

    def add(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> None:
        """Records the next answer, or the one of an occurrence."""
        known = self._answers[row, key]
        occurrence = max(known, default=-1) + 1 if occurrence is None else occurrence
        known[occurrence] = answer
        self._keep(row, key, occurrence, answer)


class AnswerPage:
    """What models see of it during one call of `process`; see `distilmq.models.requests.answers.AnswerBook`."""

    def __init__(self, book: BatchAnswers, places: Sequence[int]) -> None:
        self._book = book
        self._places = places
        self._found: defaultdict[tuple[int, bytes], int] = defaultdict(int)

    def draining(self) -> bool:
        """Whether no new request may be sent."""
        return self._book.draining()

    def find(self, row: int, key: bytes) -> bytes | None:
        """The next answer to this request of this row, or None."""
        place = self._found[row, key]
        answers = self._book.answers(self._places[row], key)
        if place >= len(answers):
            return None
        self._found[row, key] = place + 1
        return answers[place]

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> None:
        """Records an answer to this request of this row; it was given, so it is not found again."""
        self._book.add(self._places[row], key, answer, occurrence)
        self._found[row, key] = len(self._book.answers(self._places[row], key))


def recorded_answers(frame: bytes) -> list[tuple[int, bytes, int, bytes]]:
    """The answers that a batch came with; a frame that holds none gives none: they are only a saving."""
    try:
        entries: Any = unpack(frame)
        return [(int(row), bytes(key), int(occurrence), bytes(answer)) for row, key, occurrence, answer in entries]
    except (UnpackError, TypeError, ValueError):
        return []

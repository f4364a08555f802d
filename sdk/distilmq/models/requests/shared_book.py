"""A batch's answers for several models that are asked at the same time, each from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from distilmq.models.requests.answers import AnswerBook, KnownAnswer
from distilmq.models.requests.sources import Generation


class SharedBook:
    """An `AnswerBook` that one thread at a time uses.

    Args:
        book: of the batch.
    """

    def __init__(self, book: AnswerBook) -> None:
        self._book = book
        self._lock = threading.Lock()

    def draining(self) -> bool:
        """Whether no new request may be sent."""
        return self._book.draining()

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        """The next answer to this request of this row, or None."""
        with self._lock:
            return self._book.find(row, key)

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        """Records an answer to this request of this row: the next one, or the one of that occurrence; says which."""
        with self._lock:
            return self._book.keep(row, key, answer, occurrence)

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """A model's outputs for a row, by one call: what they were made of."""
        with self._lock:
            self._book.gave(row, generations)

    def spoil(self, row: int, generation: int) -> None:
        """One of the generations that the last call gave for a row is of no use."""
        with self._lock:
            self._book.spoil(row, generation)

"""A batch's answers for several models that are asked at the same time, each from a thread of its own."""

from __future__ import annotations

import threading

from distilmq.models.requests.answers import AnswerBook


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

    def find(self, row: int, key: bytes) -> bytes | None:
        """The next answer to this request of this row, or None."""
        with self._lock:
            return self._book.find(row, key)

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> None:
        """Records an answer to this request of this row: the next one, or the one of that occurrence."""
        with self._lock:
            self._book.keep(row, key, answer, occurrence)

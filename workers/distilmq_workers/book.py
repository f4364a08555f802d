"""The answers of models for the batch in hand: those handed out with it, and those that come now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from threading import Event, Lock

Keep = Callable[[int, bytes, int, bytes], None]
"""Called with row, key, occurrence and answer, from the thread that got it."""


class BatchAnswers:
    """All answers of one batch, by row and request; shared by the calls of `process` that halving makes."""

    def __init__(self, known: Iterable[tuple[int, bytes, int, bytes]], keep: Keep, draining: Event) -> None:
        self._known: dict[tuple[int, bytes], list[bytes]] = defaultdict(list)
        for row, key, _, answer in sorted(known, key=lambda entry: entry[:3]):
            self._known[row, key].append(answer)
        self._keep = keep
        self._lock = Lock()
        self.draining = draining

    def find(self, row: int, key: bytes, occurrence: int) -> bytes | None:
        """The answer to the request that is the row's `occurrence`-th of its kind."""
        with self._lock:
            answers = self._known.get((row, key), ())
            return answers[occurrence] if occurrence < len(answers) else None

    def keep(self, row: int, key: bytes, answer: bytes) -> None:
        """Adds an answer, and tells the coordinator."""
        with self._lock:
            answers = self._known[row, key]
            answers.append(answer)
            occurrence = len(answers) - 1
        self._keep(row, key, occurrence, answer)


class CallAnswers:
    """`AnswerBook` of one call of `process`, which sees some rows of the batch, counted from 0."""

    def __init__(self, batch: BatchAnswers, rows: Sequence[int]) -> None:
        self._batch = batch
        self._rows = rows
        self._asked: Counter[tuple[int, bytes]] = Counter()
        self._lock = Lock()

    def draining(self) -> bool:
        """See `AnswerBook`."""
        return self._batch.draining.is_set()

    def find(self, row: int, key: bytes) -> bytes | None:
        """See `AnswerBook`."""
        with self._lock:
            occurrence = self._asked[row, key]
            self._asked[row, key] += 1
        return self._batch.find(self._place(row), key, occurrence)

    def keep(self, row: int, key: bytes, answer: bytes) -> None:
        """See `AnswerBook`."""
        self._batch.keep(self._place(row), key, answer)

    def _place(self, row: int) -> int:
        """The row's place in the batch; a step that asks more often than it has rows asks for its last one."""
        return self._rows[min(row, len(self._rows) - 1)]

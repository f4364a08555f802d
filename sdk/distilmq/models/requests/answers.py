"""Answers that a batch already has: what was paid for once is not asked for again.

Whoever runs `process` puts an `AnswerBook` into `current_answers`; models look every request up in it before they
send it, and give each answer to it the moment it came. Requests are told apart by the row they are for and by
`request_key`; equal requests of one row are counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, cast

from distilmq.models.requests.sources import Generation
from distilmq.protocol.packing import UnpackError, pack, unpack


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer that is recorded."""

    data: bytes
    occurrence: int = 0
    """Which of several equal requests of its row it answers."""
    lost: tuple[int, ...] = ()
    """Places of its generations that were of no use: these are asked for anew."""


class AnswerBook(Protocol):
    """The answers of one batch. It is called from the thread that called `process`; `draining` from any thread."""

    def draining(self) -> bool:
        """Whether no new request may be sent."""
        ...

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        """The next answer to this request of this row, or None; counts the occurrences itself.

        Args:
            row: place in the list given to `process`, or `ANY_ROW`.
            key: as `request_key` gives it.
        """
        ...

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        """Records an answer to this request of this row: the next one, or the one of that occurrence; says which."""
        ...

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """A model's outputs for a row, by one call: what they were made of."""
        ...

    def spoil(self, row: int, generation: int) -> None:
        """One of the generations that the last call gave for a row is of no use."""
        ...


current_answers: ContextVar[AnswerBook | None] = ContextVar("current_answers", default=None)
"""The book of the batch in hand; None where no worker runs the step."""

failed_requests: ContextVar[dict[bytes, Exception] | None] = ContextVar("failed_requests", default=None)
"""Requests of the batch in hand that failed for good, so that they are not sent again while it is halved."""

ANY_ROW = -1
"""Stands for the row of a request of which is not known which row it is for."""

rows_given: ContextVar[int | None] = ContextVar("rows_given", default=None)
"""How many rows `process` was given; None where no worker runs the step."""

_rows: ContextVar[tuple[int, ...] | None] = ContextVar("rows", default=None)


@contextmanager
def asking_for(rows: tuple[int, ...]) -> Generator[None]:
    """Says for which rows of the list given to `process` the inputs of a model are, within a `with`."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def row_of(place: int, inputs: int) -> int:
    """The row that an input of a model is for: what `asking_for` said, or its own place.

    Args:
        place: of the input.
        inputs: how many there are: where they are not as many as the rows, nobody knows which is for which.
    """
    rows = _rows.get()
    if rows is not None:
        return rows[place] if place < len(rows) else ANY_ROW
    given = rows_given.get()
    return place if given is None or inputs == given else ANY_ROW


def request_key(parts: Mapping[str, Any]) -> bytes:
    """Digest of what decides on an answer: model, messages, schema and parameters of substance."""
    text = json.dumps(parts, sort_keys=True, default=repr, ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()


def encode_answer(output: Mapping[str, Any]) -> bytes | None:
    """What a model gave, as bytes; None where it holds values that cannot be kept."""
    try:
        return pack(output)
    except (TypeError, ValueError, OverflowError):
        return None


def decode_answer(answer: bytes, holding: str = "generations") -> dict[str, Any] | None:
    """What a model gave; None for bytes that are no answer (of another version, or damaged).

    Args:
        answer: as `encode_answer` gives it.
        holding: what an answer has at least.
    """
    try:
        output = unpack(answer)
    except UnpackError:
        return None
    return cast("dict[str, Any]", output) if isinstance(output, dict) and holding in output else None

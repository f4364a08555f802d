"""What messages are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from distilmq.protocol.seq_no import SeqNo


class Message(BaseModel):
    """A header: within a protocol version fields are only added, with defaults."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Value(BaseModel):
    """A part of a header."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ErrorInfo(Value):
    """An exception of the user's code, as text."""

    type: str
    message: str
    traceback: str = ""
    pickled: bytes | None = None
    """The exception by cloudpickle where it could be pickled: only a client that trusts the run reads it."""


class UselessAnswer(Value):
    """A recorded answer that a failed row came from: it is not used when the row is computed again."""

    key: bytes
    occurrence: int = 0
    generations: tuple[int, ...] = ()
    """Which of its generations; none: all of it."""


class RowFailure(Value):
    """A row that failed, alone: it made the step raise, or the model's answer was of no use."""

    row: int
    """Place in the batch's input, from 0; of one that came `out`, in its output."""
    error: ErrorInfo
    input: bytes = b""
    """The row as it went in, encoded by `rows.encode_row` (of a join: an array of one row per branch)."""
    answer: str | None = None
    """What the model said, where it said something."""
    attempts: int = 1
    """How often it was tried: the requests that were sent for it, or the one call of a step."""
    out: bool = False
    """It is a row that came out and cannot travel; it belongs to no one row of the input."""
    useless: tuple[UselessAnswer, ...] = ()
    """Of the recorded answers to the row's requests; the others are used when it is computed again."""


class Lease(Value):
    """One hand-out of one batch: `attempt` is the fencing number."""

    step: str
    seq_no: SeqNo
    part: int = 0
    attempt: int = 1


Cursor = tuple[int, ...]
"""A place in the rows of a batch, as the coordinator counts it; empty for their beginning."""


class SharedFile(Value):
    """Payload bytes that do not travel with their message: they lie in a file of the run's shared folder."""

    name: str
    size: int
    crc: int
    """CRC-32."""


class Versions(Value):
    """What a peer runs: it is refused before anything is unpickled when they cannot work together."""

    distilmq: str = ""
    python: str = ""

"""A large batch on its way to a step process: its rows come in parts, one after the other, as they are asked for.

So the coordinator has no more than a part in hand, and what was lost is asked for again. A part that comes twice is
known by the place at which it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from distilmq.protocol.messages import Batch, BatchPart, Cursor
from distilmq.protocol.rows import join_bodies

ASK_AGAIN = 5.0
"""Seconds without the part that was asked for after which it is asked for again; doubled each time, up to the next
line, and for the parts behind it: what took long once may take as long again."""
ASK_AGAIN_BY_FILE = 15.0
"""The first of these where rows go by way of a file system, which may be slow."""
ASK_RARELY = 60.0


@dataclass(slots=True)
class Gathering:
    """What has come of one batch."""

    batch: Batch
    known: Sequence[bytes]
    """The frames that came with the batch itself."""
    cursor: Cursor = ()
    """Where the part begins that comes next."""
    again_at: float | None = None
    """When to ask for it again; None while it was not asked for."""
    wait: float = ASK_AGAIN
    _bodies: list[list[bytes]] = field(default_factory=list[list[bytes]])

    def __post_init__(self) -> None:
        self._bodies = [[] for _ in self.batch.inputs]

    def ask(self, now: float) -> Cursor:
        """What to ask for."""
        if self.again_at is not None:
            self.wait = min(self.wait * 2, ASK_RARELY)
        self.again_at = now + self.wait
        return self.cursor

    def reconnected(self) -> None:
        """What was asked for may be lost."""
        self.again_at = None

    def begin_again(self) -> None:
        """Another coordinator has it: it may count otherwise."""
        self.cursor, self.again_at = (), None
        self._bodies = [[] for _ in self.batch.inputs]

    def handed_again(self, batch: Batch, known: Sequence[bytes]) -> None:
        """The same batch was handed out once more: its rows are the same."""
        self.batch, self.known = batch, known

    def take(self, part: BatchPart, data: bytes) -> bool:
        """Takes a part; tells whether all rows are here. One that was not asked for last is passed over."""
        if part.cursor != self.cursor or not 0 <= part.input < len(self._bodies):
            return False
        self._bodies[part.input].append(data)
        self.cursor, self.again_at = part.next, None
        return not part.next

    def payload(self) -> list[bytes]:
        """The frames that the batch would have had in one message."""
        joined: list[bytes] = []
        for rows, bodies in zip(self.batch.rows, self._bodies, strict=True):
            joined.append(join_bodies(rows, bodies))
            bodies.clear()
        return [*joined, *self.known]

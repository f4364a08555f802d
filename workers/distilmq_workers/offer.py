"""An answer that is not yet acknowledged: said at once where it is small, in parts where it is large.

Of the parts only a few are on their way at a time, and the next ones go out as the coordinator says that it has those
before on its disk: nothing else that is said waits behind more than these few. The answer itself follows the last one.
A coordinator that has fewer parts than it had (it has begun anew) gets them again from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distilmq.protocol.messages import Failed, Result, ResultPart
from distilmq.protocol.rows import count_rows
from distilmq_workers.commands import Say

OFFER_AGAIN = 2.0
"""Seconds without news of an answer after which it is sent again; doubled each time, up to the next line."""
OFFER_AGAIN_BY_FILE = 10.0
"""The first of these where its rows go by way of a file system, which may be slow."""
OFFER_RARELY = 60.0
PARTS_ON_THE_WAY = 2
_PATIENCE = 4.0
"""How many times as long as the last part took the next one may take before it is sent again."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes `start` to `stop` of one frame of the payload."""

    frame: int
    start: int
    stop: int
    rows: int
    """Of the frame that ends with it; 0 if it goes on."""


class Offer:
    """One answer, from when the user's code is done until it is acknowledged.

    Args:
        message: the answer.
        payload: its frames; of a large result each an array of rows.
        now: when it was made.
        max_part: bytes of a part; 0 for a coordinator that takes no parts.
        apart: its rows never travel with it, however few they are.
    """

    def __init__(
        self, message: Result | Failed, payload: Sequence[bytes], now: float, *, max_part: int, apart: bool = False
    ) -> None:
        self.message = message
        self._wait = OFFER_AGAIN_BY_FILE if apart else OFFER_AGAIN
        self.again_at = now + self._wait
        """When it is said again if nothing is heard."""
        self._payload = payload
        self._parts = _cut(payload, max_part, apart=apart)
        self._kept = 0
        self._sent = 0
        self._since = now
        """Last news of it, or when it was offered first."""

    def say(self, now: float) -> list[Say]:
        """Offers it, for the first time or on a new connection."""
        self._sent = self._kept
        self._since = now
        self.again_at = now + self._wait
        return self._next()

    def say_again(self, now: float) -> list[Say]:
        """Nothing was heard for too long: of parts one is enough to learn what the coordinator has."""
        self._wait = min(self._wait * 2, OFFER_RARELY)
        self.again_at = now + self._wait
        if self._kept < len(self._parts):
            return [self._part(self._kept)]
        return [self._answer()]

    def kept(self, parts: int, now: float) -> list[Say]:
        """The coordinator has so many parts."""
        parts = max(0, min(parts, len(self._parts)))
        if parts == self._kept:
            return []
        if parts < self._kept:
            self._sent = parts
        self._kept = parts
        self._sent = max(self._sent, parts)
        self._wait = min(OFFER_RARELY, max(OFFER_AGAIN, _PATIENCE * (now - self._since)))
        self._since = now
        self.again_at = now + self._wait
        return self._next()

    def _next(self) -> list[Say]:
        if self._kept == len(self._parts):
            return [self._answer()]
        until = min(len(self._parts), self._kept + PARTS_ON_THE_WAY)
        said = [self._part(number) for number in range(self._sent, until)]
        self._sent = max(self._sent, until)
        return said

    def _part(self, number: int) -> Say:
        part = self._parts[number]
        frame = self._payload[part.frame]
        data = frame if part.stop - part.start == len(frame) else bytes(memoryview(frame)[part.start : part.stop])
        return Say(
            ResultPart(session=self.message.session, lease=self.message.lease, number=number, rows=part.rows), [data]
        )

    def _answer(self) -> Say:
        if not self._parts:
            return Say(self.message, self._payload)
        return Say(self.message.model_copy(update={"parts": len(self._parts)}))


def _cut(payload: Sequence[bytes], most: int, *, apart: bool) -> list[_Part]:
    """The parts of a payload; none of one that goes in a single message."""
    if not most or (
        not (apart and any(map(count_rows, payload)))
        and len(payload) < 2
        and all(len(frame) <= most for frame in payload)
    ):
        return []
    return [
        _Part(place, start, stop, count_rows(frame) if stop == len(frame) else 0)
        for place, frame in enumerate(payload)
        for start, stop in ((start, min(start + most, len(frame))) for start in range(0, len(frame), most))
    ]

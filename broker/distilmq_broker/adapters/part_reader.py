"""Reading the rows of many recorded batches a bounded number of bytes at a time: what is read next follows from a
place that the reader of before was told, so nothing is kept between two calls but what would have to be read twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from distilmq.errors import JournalError
from distilmq.protocol.seq_no import show
from distilmq_broker.adapters.records import Records
from distilmq_broker.adapters.segments import Place
from distilmq_broker.core.facts import Slice
from distilmq_broker.payloads import array_body
from distilmq_broker.ports import BEGINNING, PlaceInSlices


class PartReader:
    """Gives the elements of the array that the rows of some slices make, in parts."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._begun: tuple[Slice, Place | None, memoryview] | None = None
        """A piece that is larger than a part, while its parts are read."""

    def read(self, slices: Sequence[Slice], at: PlaceInSlices, most: int) -> tuple[bytes, PlaceInSlices | None]:
        """See `ports.Journal.part`."""
        number, place, offset = at
        if at != BEGINNING and not 0 <= number < len(slices):
            raise ValueError(f"no slice {number} of {len(slices)}")
        found: list[memoryview] = []
        while number < len(slices):
            pieces = self._records.places_of(slices[number])
            while 0 <= place < len(pieces):
                if most <= 0:
                    return b"".join(found), (number, place, offset)
                body = self._body(slices[number], pieces[place])
                if not 0 <= offset <= len(body):
                    raise ValueError(f"no byte {offset} in a piece of {len(body)}")
                found.append(body[offset : offset + most])
                most -= len(found[-1])
                offset += len(found[-1])
                if offset < len(body):
                    self._begun = slices[number], pieces[place], body
                    return b"".join(found), (number, place, offset)
                self._begun = None
                place, offset = place + 1, 0
            if place != len(pieces):
                raise ValueError(f"no piece {place} of {len(pieces)}")
            number, place = number + 1, 0
        return b"".join(found), None

    def _body(self, part: Slice, place: Place | None) -> memoryview:
        if self._begun is not None and self._begun[:2] == (part, place):
            return self._begun[2]
        try:
            return array_body(self._records.rows_at(part, place))
        except ValueError as error:
            raise JournalError(f"batch {show(part.seq_no)} of step {part.step!r}: {error}") from error

"""Rows of a batch whose outputs are known already, since an earlier run computed them: they are not computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from distilmq.protocol.messages import RowFailure
from distilmq.protocol.packing import UnpackError, unpack


@dataclass(frozen=True, slots=True)
class KnownRow:
    """What comes out for one row of the input."""

    rows: list[bytes]
    failure: RowFailure | None


@dataclass(frozen=True, slots=True)
class Computed:
    """What came out for some rows of a batch's input."""

    places: Sequence[int]
    """Of these rows in the batch's input, in order."""
    rows: list[bytes]
    counts: Sequence[int] | None
    """How many of the rows belong to each place; None where that is not known."""
    failures: list[RowFailure] = field(default_factory=list[RowFailure])


def kept_rows(frame: bytes) -> dict[int, KnownRow]:
    """The rows that a batch came with, by place; a frame that holds none gives none: they are only a saving."""
    try:
        entries: Any = unpack(frame)
        return {
            int(place): KnownRow(
                [bytes(row) for row in rows], None if failure is None else RowFailure.model_validate(failure)
            )
            for place, rows, failure in entries
        }
    except (UnpackError, TypeError, ValueError, ValidationError):
        return {}


def gaps(places: Sequence[int]) -> list[Sequence[int]]:
    """Places in order, cut where one is missing."""
    if not places:
        return []
    breaks = [0, *(index + 1 for index, (one, other) in enumerate(pairwise(places)) if other != one + 1), len(places)]
    return [places[start:stop] for start, stop in pairwise(breaks)]


def put_together(kept: Mapping[int, KnownRow], computed: Sequence[Computed]) -> Computed:
    """Kept and computed rows in the order of the input.

    Args:
        kept: by place.
        computed: what is not said place by place has places without a gap.
    """
    by_place: dict[int, list[bytes]] = {place: known.rows for place, known in kept.items()}
    failures = [
        known.failure.model_copy(update={"row": place}) for place, known in kept.items() if known.failure is not None
    ]
    counted = True
    for part in computed:
        failures += part.failures
        if part.counts is None:
            counted = False
            by_place[part.places[0]] = part.rows
            continue
        at = 0
        for place, count in zip(part.places, part.counts, strict=True):
            by_place[place] = part.rows[at : at + count]
            at += count
    ordered = sorted(by_place)
    counts = [len(by_place[place]) for place in ordered] if counted else None
    rows = [row for place in ordered for row in by_place[place]]
    return Computed(ordered, rows, counts, sorted(failures, key=lambda failure: failure.row))

"""Batches that killed their workers: cut in halves until the poison row is alone.

Part 0 is the whole batch; the halves of part `p` are `2p + 1` and `2p + 2`. Readers see one batch again once
all parts are done, its rows in the order of the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distilmq_broker.core.chunks import Cut
from distilmq_broker.core.facts import Slice, Span
from distilmq_broker.core.spans import cut, halves


@dataclass(slots=True)
class Halved:
    """A batch in parts."""

    whole: Cut
    open: int = 0
    """Parts that are neither done nor halved themselves."""
    rows: int = 0
    """Rows of the parts that are done."""


def halve(whole: Cut) -> tuple[Cut, Cut] | None:
    """The two halves of a batch's input; None where it cannot be cut, because branches of a join differ in length."""
    counts = [sum(part.stop - part.start for part in slices) for slices in whole.inputs]
    if whole.rows < 2 or any(counts[branch] != whole.rows for branch in whole.present):
        return None
    middle = (whole.rows + 1) // 2
    inputs = [halves(slices, middle) for slices in whole.inputs]
    first, second = (
        Cut(
            whole.seq_no,
            tuple(each[side] for each in inputs),
            whole.present,
            tuple((fork, cut(segments, start, stop)) for fork, segments in whole.span),
            stop - start,
        )
        for side, (start, stop) in enumerate(((0, middle), (middle, whole.rows)))
    )
    return first, second


def rebuilt(seq_no: tuple[int, ...], inputs: Sequence[tuple[Slice, ...]], span: Span) -> Cut:
    """A batch's input, from what was recorded of it."""
    counts = [sum(part.stop - part.start for part in slices) for slices in inputs]
    present = tuple(branch for branch, count in enumerate(counts) if count)
    return Cut(seq_no, tuple(inputs), present, span, max(counts, default=0))


@dataclass(slots=True)
class Parts:
    """The halved batches of one step."""

    halved: dict[tuple[int, ...], Halved] = field(default_factory=lambda: dict[tuple[int, ...], Halved]())

    def split(self, whole: Cut, part: int) -> None:
        """A batch, or a part of one, was halved."""
        if part == 0:
            self.halved[whole.seq_no] = Halved(whole)
        else:
            self.halved[whole.seq_no].open -= 1
        self.halved[whole.seq_no].open += 2

    def finish(self, seq_no: tuple[int, ...], rows: int) -> Halved | None:
        """A part is done; gives back the whole once all are."""
        halved = self.halved[seq_no]
        halved.open -= 1
        halved.rows += rows
        return None if halved.open else self.halved.pop(seq_no)


def leaves(whole: Cut, part: int, halved: Mapping[int, Cut]) -> list[tuple[int, Cut]]:
    """The parts of a halved batch that are not halved themselves, in the order of rows."""
    if part not in halved:
        return [(part, whole)]
    pair = halve(halved[part])
    if pair is None:
        return [(part, whole)]
    first, second = pair
    return [*leaves(first, 2 * part + 1, halved), *leaves(second, 2 * part + 2, halved)]

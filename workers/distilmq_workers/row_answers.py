"""Which recorded answers a row was made of, so that those it failed by can be told from the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from distilmq.models.requests.sources import Generation, Source
from distilmq.protocol.messages import UselessAnswer

LostBefore = Callable[[Source], Collection[int] | None]
"""Of an answer that an earlier failure of its row left, the generations that were of no use then; None of another."""


class RowAnswers:
    """The answers that one row was given while `process` was at it."""

    def __init__(self) -> None:
        self._last: Sequence[Generation] = ()
        """What the model gave that was asked last."""
        self._all: list[Source] = []
        self._spoiled: list[Source] = []
        self._lost = False
        """A generation is of no use, or did not come at all: that is why the row failed."""

    def gave(self, generations: Sequence[Generation]) -> None:
        """A model was asked about the row, and gave these."""
        self._last = generations
        for generation in generations:
            self._all += generation.sources
            if generation.lost:
                self._spoil(generation)

    def spoil(self, place: int) -> None:
        """One of the generations that came last is of no use."""
        if place < len(self._last):
            self._spoil(self._last[place])

    def useless(self, lost_before: LostBefore) -> list[UselessAnswer]:
        """What is to be asked for anew, the row having failed.

        That is what is known to be of no use. Where nothing is, the step itself did not like something: then it is
        what came last, and everything where it also failed with answers that an earlier failure had left.
        """
        if self._lost:
            return _together(self._spoiled, lost_before)
        last = [source for generation in self._last for source in generation.sources]
        before = [source for source in self._all if source not in last]
        again = any(lost_before(source) is not None for source in before)
        return _together([*before, *last] if again else last, lost_before)

    def _spoil(self, generation: Generation) -> None:
        self._lost = True
        self._spoiled += generation.sources


def _together(sources: Iterable[Source], lost_before: LostBefore) -> list[UselessAnswer]:
    found: defaultdict[tuple[bytes, int], dict[int, Source]] = defaultdict(dict)
    for source in sources:
        found[source.key, source.occurrence][source.place] = source
    return [
        _useless(key, occurrence, places, lost_before(next(iter(places.values()))) or ())
        for (key, occurrence), places in found.items()
    ]


def _useless(key: bytes, occurrence: int, places: dict[int, Source], before: Collection[int]) -> UselessAnswer:
    """All of an answer, where none of its generations has been replaced by another; else the lost ones are named."""
    whole = not before and len(places) == next(iter(places.values())).of
    lost = () if whole else tuple(sorted({*places, *before}))
    return UselessAnswer(key=key, occurrence=occurrence, generations=lost)

"""Which recorded answers each generation was made of: those of one that is of no use are not used again.

A row that failed is computed again in a revision of its run. What was answered for it then stands in the journal, but
for what the failure came from: that is asked for anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Source:
    """One generation of a recorded answer."""

    key: bytes
    occurrence: int
    place: int = 0
    """Of the generation in the answer."""
    of: int = 1
    """How many generations the answer has."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What one generation of a model's output was made of."""

    sources: tuple[Source, ...]
    """Its own, and the answers that were asked for in its place, or to mend it."""
    lost: bool
    """It failed, or is no text."""


@dataclass(frozen=True, slots=True)
class Used:
    """A recorded answer that was used for a request, or for one that followed from it."""

    key: bytes
    occurrence: int
    generations: int
    replaces: int | None
    """Of the first answer, which generation it was asked for; None of the first answer itself."""

    def sources(self) -> list[Source]:
        """All its generations."""
        return [Source(self.key, self.occurrence, place, self.generations) for place in range(self.generations)]


def traced(used: Iterable[Used], outcome: Mapping[str, Any] | Exception) -> list[Generation]:
    """What each generation of an outcome was made of; of an error, what is of no use for it."""
    answers = list(used)
    if isinstance(outcome, Exception):
        return [Generation(tuple(source for answer in answers for source in answer.sources()), lost=True)]
    texts = cast("Sequence[str | None]", outcome["generations"])
    errors = cast("Sequence[Exception | None]", outcome.get("errors") or [None] * len(texts))
    return [
        Generation(tuple(_of_place(answers, place)), lost=text is None or errors[place] is not None)
        for place, text in enumerate(texts)
    ]


def _of_place(answers: Iterable[Used], place: int) -> Iterable[Source]:
    for answer in answers:
        if answer.replaces == place:
            yield from answer.sources()
        elif answer.replaces is None and place < answer.generations:
            yield Source(answer.key, answer.occurrence, place, answer.generations)

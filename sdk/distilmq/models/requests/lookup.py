"""What is known already of the inputs of a model that takes all of them in one call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from distilmq.models.requests.answers import AnswerBook, decode_answer, encode_answer, row_of
from distilmq.models.requests.generations import Output, replaced
from distilmq.models.requests.sources import Generation, Used, traced


class Lookup:
    """The outputs for some inputs: those that the batch has, and those that come.

    Args:
        book: the answers of the batch.
        keys: of the inputs' requests.
    """

    def __init__(self, book: AnswerBook, keys: Sequence[bytes]) -> None:
        self.lost: list[tuple[int, int]] = []
        """Places of inputs, and of their generations that have to be asked for anew."""
        self._book = book
        self._keys = keys
        self._outputs: list[Output | None] = [None] * len(keys)
        self._used: list[list[Used]] = [[] for _ in keys]
        for place, key in enumerate(keys):
            self.find(place, key)

    @property
    def missing(self) -> list[int]:
        """Places of the inputs that have no output yet."""
        return [place for place, output in enumerate(self._outputs) if output is None]

    @property
    def outputs(self) -> list[Output]:
        """Of all inputs, when none is missing."""
        return cast("list[Output]", self._outputs)

    def find(self, place: int, key: bytes, generation: int | None = None) -> bool:
        """Whether there is an answer for an input, or one in the place of one of its generations: it is taken then."""
        known = self._book.find(self._row(place), key)
        output = decode_answer(known.data) if known is not None else None
        if known is None or output is None:
            return False
        self.lost += [(place, lost) for lost in known.lost if generation is None]
        self._put(place, output, generation)
        self._use(place, key, output, known.occurrence, generation)
        return True

    def came(self, place: int, output: Output) -> None:
        """The output for an input came."""
        self._keep(place, self._keys[place], output, None)

    def came_anew(self, place: int, key: bytes, generation: int, output: Output) -> None:
        """An output came in the place of one of an input's generations."""
        self._keep(place, key, output, generation)

    def tell_sources(self) -> None:
        """The book is told which answers each generation was made of."""
        rows: defaultdict[int, list[Generation]] = defaultdict(list)
        for place, (used, output) in enumerate(zip(self._used, self.outputs, strict=True)):
            rows[self._row(place)] += traced(used, output)
        for row, generations in rows.items():
            self._book.gave(row, generations)

    def _row(self, place: int) -> int:
        return row_of(place, len(self._keys))

    def _keep(self, place: int, key: bytes, output: Output, generation: int | None) -> None:
        self._put(place, output, generation)
        if (answer := encode_answer(output)) is not None:
            self._use(place, key, output, self._book.keep(self._row(place), key, answer), generation)

    def _put(self, place: int, output: Output, generation: int | None) -> None:
        before = self._outputs[place]
        self._outputs[place] = output if before is None or generation is None else replaced(before, generation, output)

    def _use(self, place: int, key: bytes, output: Mapping[str, Any], occurrence: int, generation: int | None) -> None:
        self._used[place].append(Used(key, occurrence, len(output["generations"]), generation))

"""Asking again for an answer that does not have its shape: in the same conversation, with what is wrong with it.

One of several answers to an input that never gets its shape is left out, and takes none of the others along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from distilmq.errors import DistilmqUserError, InvalidAnswerError
from distilmq.models.llms.shapes import Shape
from distilmq.models.llms.utils import split_input
from distilmq.models.requests.generations import Outcome, Output, replaced, with_lost
from distilmq.models.requests.sending import Request, Then

_NO_TEXT = "(no text)"
"""Stands for an empty answer in the conversation: providers refuse a turn without text."""
_SHOWN = 200
"""Characters of an answer that the error shows."""

Ask = Callable[[Any, int, Then], Request]
"""Makes the request for one answer to an input, in the place of one of those that came."""


class Repair:
    """One request: of its answers those without the shape are asked for again, each by itself.

    Args:
        shape: of the answers.
        retries: how often each is asked for again at most.
        input: what was asked.
        who: names the model.
        ask: makes the further requests.
    """

    def __init__(self, shape: Shape, retries: int, input: Any, *, who: str, ask: Ask) -> None:
        self._outcome: Outcome | None = None
        """What has become of the request by now."""
        self._lost: dict[int, Exception] = {}
        """Places of answers that were given up, with the reasons."""
        self._shape = shape
        self._retries = retries
        self._input = input
        self._who = who
        self._ask = ask

    @property
    def outcome(self) -> Outcome | None:
        """What has become of the request: an answer that was given up takes none along that can be used."""
        if self._outcome is None or isinstance(self._outcome, Exception) or not self._lost:
            return self._outcome
        return with_lost(self._outcome, self._lost)

    def answered(self, outcome: Outcome) -> list[Request]:
        """The request's outcome came; gives what is to be asked because of it."""
        self._outcome = outcome
        if isinstance(outcome, Exception):
            return []
        return [
            request
            for place, text in enumerate(cast("Sequence[str | None]", outcome["generations"]))
            for request in self._judged(place, text, self._input, 0)
        ]

    def _judged(self, place: int, text: str | None, input: Any, tries: int) -> list[Request]:
        """What is to be asked because of one answer, which was asked for again so often; an answer of None is none."""
        if text is None:
            return []
        try:
            fault = self._shape.fault(text)
        except DistilmqUserError as error:
            self._outcome = error
            return []
        if fault is None:
            return []
        if tries >= self._retries:
            self._give_up(place, f"{fault}. The answer was: {text[:_SHOWN]}", text, tries)
            return []
        asked = asked_again(input, text, fault, self._shape)
        return [self._ask(asked, place, partial(self._mended, place, asked, tries + 1, text))]

    def _mended(self, place: int, input: Any, tries: int, before: str, outcome: Outcome) -> list[Request]:
        """The answer that was asked for again came, or did not."""
        if isinstance(self._outcome, Exception):  # of another answer: no answer can be held against the shape
            return []
        if isinstance(outcome, Exception):
            _tell_answer(outcome, before)
            self._lost[place] = outcome
            return []
        if outcome["generations"][0] is None:
            self._give_up(place, "asked again, the model gave no text", before, tries)
            return []
        self._outcome = replaced(cast("Output", self._outcome), place, outcome)
        return self._judged(place, outcome["generations"][0], input, tries)

    def _give_up(self, place: int, why: str, answer: str, tries: int) -> None:
        times = f"also when asked again {tries} times" if tries else "and is not asked again"
        error = InvalidAnswerError(f"{self._who} gave an answer without the shape that was asked for, {times}: {why}")
        error.attempts = tries + 1
        self._lost[place] = error.with_answer(answer)


def asked_again(input: Any, answer: str, fault: str, shape: Shape) -> Any:
    """The input with the answer and what is wrong with it; bare text goes on as text."""
    conversation, own = split_input(input)
    words = (
        f"This answer cannot be used: {fault}.\n\nGive the whole answer again, and nothing else beside it:"
        f" {shape.wanted()}"
    )
    if isinstance(conversation, str):
        again: Any = f"{conversation}{answer}\n\n{words}\n\n"
    else:
        said = {"role": "assistant", "content": answer if answer.strip() else _NO_TEXT}
        again = [*conversation, said, {"role": "user", "content": words}]
    return (again, own) if isinstance(input, tuple) else again


def _tell_answer(error: Exception, answer: str) -> None:
    """On the error, where the dead letters look for it, unless it tells one itself."""
    if getattr(error, "answer", None) is None:
        error.answer = answer  # pyright: ignore[reportAttributeAccessIssue]  # errors of any library

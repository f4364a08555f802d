"""A model that says what a test tells it to: no network, no latency, requests counted in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from distilmq.errors import InvalidRequestError, StepFatalError
from distilmq.models.llms.base import AsyncLLM
from distilmq.models.llms.utils import as_messages, split_input
from distilmq.models.requests.usage import statistics
from distilmq.typing import GenerateOutput


class ScriptedLLM(AsyncLLM):
    """Answers from a list, in turn, or by a function of the last message; without either it repeats the message.

    Attributes:
        model: the name that rows carry.
        answers: what it says, in turn and then from the beginning again; or a function of the last message's text.
        fail_on: texts: a request whose last message holds one of them fails.
        refuse_on: texts: a request whose last message holds one of them ends the run, as a wrong key does.
        counter: a file that gets one JSON line per request, so that requests of several processes can be counted.

    Examples:
        ```python
        from distilmq.testing import ScriptedLLM

        llm = ScriptedLLM(answers=str.upper)
        llm.load()
        [output] = llm.generate_outputs([[{"role": "user", "content": "hello"}]])
        llm.unload()
        assert output["generations"] == ["HELLO"]
        ```
    """

    model: str = "scripted"
    answers: list[str | None] | Callable[[str], str | None] | None = None
    fail_on: list[str] = Field(default_factory=list[str])
    refuse_on: list[str] = Field(default_factory=list[str])
    counter: Path | None = None

    operational_fields: ClassVar[frozenset[str]] = frozenset({"counter"})

    _asked: int = PrivateAttr(default=0)

    @property
    def model_name(self) -> str:
        """The name that it was given."""
        return self.model

    async def agenerate(
        self, input: Any, num_generations: int = 1, max_new_tokens: int = 128, temperature: float = 1.0
    ) -> GenerateOutput:
        """Answers at once; one token is one word.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            num_generations: answers.
            max_new_tokens: the most words that an answer has.
            temperature: has no effect.
        """
        text = str(as_messages(split_input(input)[0])[-1]["content"])
        self._count(text)
        if any(part in text for part in self.refuse_on):
            raise StepFatalError(f"'{self.model_name}' was told to refuse all requests")
        if any(part in text for part in self.fail_on):
            raise InvalidRequestError(f"'{self.model_name}' was told to fail on this: {text[:100]}")
        said = [self._said(text) for _ in range(num_generations)]
        words = [one.split() if one is not None else [] for one in said]
        cut = [
            one if one is None or len(parts) <= max_new_tokens else " ".join(parts[:max_new_tokens])
            for one, parts in zip(said, words, strict=True)
        ]
        output_tokens = [min(len(parts), max_new_tokens) for parts in words]
        return {"generations": cut, "statistics": statistics(len(text.split()), output_tokens, num_generations)}

    def _said(self, text: str) -> str | None:
        if self.answers is None:
            return text
        if callable(self.answers):
            return self.answers(text)
        answer = self.answers[self._asked % len(self.answers)]
        self._asked += 1
        return answer

    def _count(self, text: str) -> None:
        if self.counter is None:
            return
        line = json.dumps({"model": self.model, "text": text, "pid": os.getpid()}) + "\n"
        file = os.open(self.counter, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())  # one write: lines of several processes do not mix
        finally:
            os.close(file)


def requests_in(counter: Path) -> list[str]:
    """The texts that models with this counter were asked, in the order of the requests."""
    if not counter.exists():
        return []
    return [json.loads(line)["text"] for line in counter.read_text(encoding="utf-8").splitlines()]

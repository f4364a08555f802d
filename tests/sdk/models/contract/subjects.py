"""The classes that the contract holds for, each with how it is made to ask the tests' server."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from distilmq import models
from distilmq.errors import RequestsFailedError
from distilmq.models import AsyncLLM
from distilmq.models.llms.abilities import PROVIDERS, Ability, provider
from distilmq.models.requests.answers import KnownAnswer, current_answers, decode_answer
from distilmq.models.requests.sources import Generation
from tests.servers.dialects import (
    ANTHROPIC,
    AZURE,
    COHERE,
    MISTRAL,
    OLLAMA,
    OPENAI,
    TGI_CHAT,
    VERTEX,
    Dialect,
)
from tests.servers.providers import KEY

Fields = Callable[[str], dict[str, Any]]
"""Fields of a class, from the server's URL."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One class, with how it is made to ask the tests' server; its environment is set."""

    name: str
    dialect: Dialect
    fields: Fields = lambda url: {"model": "m"}
    kwargs: Fields = lambda url: {}
    """Generation arguments that it needs to find the server."""

    @property
    def cls(self) -> type[AsyncLLM]:
        return getattr(models, self.name)

    @property
    def key(self) -> str | None:
        return provider(self.name).key

    def can(self, ability: Ability) -> bool:
        return ability not in provider(self.name).cannot

    def make(self, url: str, *, timeout: float | None = None, **fields: Any) -> AsyncLLM:
        """The model, not loaded."""
        given = {**self.fields(url), **fields}
        kwargs = {**self.kwargs(url), **given.pop("generation_kwargs", {})}
        if timeout is not None and "timeout" in self.cls.model_fields:
            given["timeout"] = timeout
        elif timeout is not None:
            kwargs["force_timeout"] = timeout
        return self.cls(**given, generation_kwargs=kwargs)


SUBJECTS = (
    Subject("AnthropicLLM", ANTHROPIC),
    Subject("AnyscaleLLM", OPENAI),
    Subject("AzureOpenAILLM", AZURE),
    Subject("ClientvLLM", OPENAI, lambda url: {"base_url": f"{url}/vllm/v1"}),
    Subject("CohereLLM", COHERE),
    Subject("GroqLLM", OPENAI),
    Subject("InferenceEndpointsLLM", TGI_CHAT, lambda url: {"base_url": f"{url}/huggingface"}),
    Subject(
        "LiteLLM",
        OPENAI,
        lambda url: {"model": "openai/gpt-4o"},
        lambda url: {"api_base": f"{url}/litellm/v1", "api_key": KEY},
    ),
    Subject("MistralLLM", MISTRAL),
    Subject("OllamaLLM", OLLAMA),
    Subject("OpenAILLM", OPENAI),
    Subject("TogetherLLM", OPENAI),
    Subject("VertexAILLM", VERTEX, lambda url: {"model": "gemini-2.5-flash"}),
)

assert {subject.name for subject in SUBJECTS} == {row.llm for row in PROVIDERS}


class Book:
    """The answers of one batch, in memory: what a worker would keep."""

    def __init__(self) -> None:
        self.kept: defaultdict[int, list[bytes]] = defaultdict(list)
        self._found: Counter[tuple[int, bytes]] = Counter()

    def draining(self) -> bool:
        return False

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        return None

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        self.kept[row].append(answer)
        return len(self.kept[row]) - 1

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """Nobody asks."""

    def spoil(self, row: int, generation: int) -> None:
        """Nobody asks."""

    @property
    def texts(self) -> dict[int, list[str | None]]:
        """Row to the texts that were answered for it."""
        decoded = {row: [decode_answer(answer) for answer in answers] for row, answers in self.kept.items()}
        return {
            row: [text for answer in answers if answer for text in answer["generations"]]
            for row, answers in decoded.items()
        }


@contextmanager
def batch() -> Iterator[Book]:
    """One call of `process`, as a worker makes it."""
    book = Book()
    token = current_answers.set(book)
    try:
        yield book
    finally:
        current_answers.reset(token)


def chat(text: str, *parts: dict[str, Any], system: str | None = None) -> list[dict[str, Any]]:
    """A conversation, with images behind its text."""
    content: Any = [{"type": "text", "text": text}, *parts] if parts else text
    before = [{"role": "system", "content": system}] if system is not None else []
    return [*before, {"role": "user", "content": content}]


def image(url: str) -> dict[str, Any]:
    """An image within a message."""
    return {"type": "image_url", "image_url": {"url": url}}


def asked_around(llm: AsyncLLM, **kwargs: Any) -> tuple[dict[int, list[str | None]], Exception]:
    """The answers to what is asked around "bad", by row, and the error of that row: the only one that has one."""
    with batch() as book, pytest.raises(RequestsFailedError) as caught:
        llm.generate_outputs([chat("one"), chat("bad"), chat("three")], **kwargs)
    [(row, error)] = caught.value.failures.items()
    assert row == 1
    return book.texts, error

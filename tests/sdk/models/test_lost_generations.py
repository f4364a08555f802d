"""An answer of which some generations were of no use is used, and only those are asked for anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import PrivateAttr

from distilmq.models import OpenAILLM
from distilmq.models.llms import LLM
from distilmq.models.requests.answers import current_answers
from distilmq_workers.book import BatchAnswers
from tests.servers.providers import ProviderServer

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
Kept = list[tuple[int, bytes, int, bytes]]


class Engine(LLM):
    """Counts its answers."""

    _said: int = PrivateAttr(default=0)

    @property
    def model_name(self) -> str:
        return "engine"

    def generate(self, inputs: list[Any], num_generations: int = 1, **kwargs: Any) -> list[Any]:
        return [{"generations": [self._answer() for _ in range(num_generations)], "statistics": {}} for _ in inputs]

    def _answer(self) -> str:
        self._said += 1
        return f"answer {self._said - 1}"


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@contextmanager
def batch(recorded: Any = ()) -> Iterator[tuple[BatchAnswers, Kept]]:
    """One call of `process` with one row, with what is recorded of it, and what is recorded then."""
    kept: Kept = []
    book = BatchAnswers(recorded, keep=lambda *answer: kept.append(answer), draining=lambda: False)
    token = current_answers.set(book.page([0]))
    try:
        yield book, kept
    finally:
        current_answers.reset(token)


def ask(llm: LLM, recorded: Any = ()) -> tuple[list[str | None], Kept]:
    """Three generations, and what was recorded of them."""
    with batch(recorded) as (_, kept):
        [output] = llm.generate_outputs([chat("one")], num_generations=3)
    return list(output["generations"]), kept


def losing(kept: Kept, *places: int) -> list[Any]:
    """The first answer without some generations, as a retry gets it, and those behind it as they are."""
    first, *others = kept
    return [(*first, places), *others]


@pytest.fixture
def server(provider_server: ProviderServer) -> ProviderServer:
    provider_server.says = lambda prompt: f"{len(provider_server.asked)}"
    return provider_server


@pytest.fixture
def llm() -> Iterator[OpenAILLM]:
    made = OpenAILLM(model="m", max_retries=0)
    made.load()
    yield made
    made.unload()


def test_only_what_was_lost_is_asked_for(server: ProviderServer, llm: OpenAILLM) -> None:
    before, kept = ask(llm)

    again, more = ask(llm, losing(kept, 1))

    assert (before, again) == (["1", "1", "1"], ["1", "2", "1"])
    assert [asked.body["n"] for asked in server.asked] == [3, 1]
    assert len(more) == 1
    assert ask(llm, losing([*kept, *more], 1)) == (again, []), "what came in its place is recorded as well"
    assert len(server.asked) == 2


def test_what_is_lost_again_is_none_with_its_reason(server: ProviderServer, llm: OpenAILLM) -> None:
    _, kept = ask(llm)
    server.fail("one", status=400, message="not like this")

    with batch(losing(kept, 0, 2)) as (book, _):
        [output] = llm.generate_outputs([chat("one")], num_generations=3)

    assert output["generations"] == [None, "1", None]
    assert [type(error).__name__ for error in output["errors"]] == [
        "InvalidRequestError",
        "NoneType",
        "InvalidRequestError",
    ]
    assert [answer.generations for answer in book.useless(0)] == [(0, 2)]


def test_what_comes_in_its_place_has_to_have_the_shape_as_well(server: ProviderServer) -> None:
    said = iter(['{"a": 1}', '{"a": 1}', '{"a": 1}', "no shape", '{"a": 2}'])
    server.says = lambda prompt: next(said)
    llm = OpenAILLM(model="m", structured_output={"schema": SCHEMA})
    llm.load()
    try:
        _, kept = ask(llm)
        again, _ = ask(llm, losing(kept, 1))
    finally:
        llm.unload()

    assert again == ['{"a": 1}', '{"a": 2}', '{"a": 1}']
    assert [len(asked.body["messages"]) for asked in server.asked] == [1, 1, 3]


def test_a_model_that_takes_all_inputs_at_once_is_asked_for_what_was_lost() -> None:
    llm = Engine()
    before, kept = ask(llm)

    again, more = ask(llm, losing(kept, 1))
    once_more, nothing = ask(llm, losing([*kept, *more], 1))

    assert before == ["answer 0", "answer 1", "answer 2"]
    assert again == once_more == ["answer 0", "answer 3", "answer 2"]
    assert nothing == []

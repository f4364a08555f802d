"""`OpenAIEmbeddings` over HTTP, against a server that speaks OpenAI's API."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from distilmq.errors import (
    DistilmqUserError,
    DrainedError,
    InvalidRequestError,
    RateLimitedError,
    RequestsFailedError,
    StepFatalError,
    TransientError,
)
from distilmq.models import OpenAIEmbeddings
from distilmq.models.requests.answers import KnownAnswer, current_answers
from distilmq.models.requests.meter import Meter, current_meter
from distilmq.models.requests.sources import Generation
from distilmq.protocol.usage import Usage
from tests.servers.dialects import EMBEDDING_SIZE, FLOATS_ONLY, embedding_of
from tests.servers.providers import KEY, Damage, ProviderServer

pytestmark = pytest.mark.usefixtures("provider_server")


def made(**fields: Any) -> OpenAIEmbeddings:
    model = OpenAIEmbeddings(**{"model": "text-embedding-3-small", **fields})
    model.load()
    return model


@pytest.fixture
def embeddings() -> Iterator[OpenAIEmbeddings]:
    model = made()
    yield model
    model.unload()


@pytest.fixture
def once() -> Iterator[OpenAIEmbeddings]:
    """Asks for one text at a time, and does not ask again."""
    model = made(max_retries=0, texts_per_request=1, timeout=2)
    yield model
    model.unload()


class Book:
    """The answers of one batch, as a worker keeps them."""

    def __init__(self, *, drains: bool = False) -> None:
        self.kept: dict[tuple[int, bytes], bytes] = {}
        self._drains = drains

    def draining(self) -> bool:
        return self._drains

    def find(self, row: int, key: bytes) -> KnownAnswer | None:
        answer = self.kept.get((row, key))
        return None if answer is None else KnownAnswer(answer)

    def keep(self, row: int, key: bytes, answer: bytes, occurrence: int | None = None) -> int:
        self.kept[row, key] = answer
        return 0

    def gave(self, row: int, generations: Sequence[Generation]) -> None:
        """Vectors are no generations."""

    def spoil(self, row: int, generation: int) -> None:
        """Vectors are no generations."""

    def embed(self, embeddings: OpenAIEmbeddings, texts: list[str]) -> list[Any]:
        """One call of `process`."""
        token = current_answers.set(self)
        try:
            return embeddings.embed(texts)
        finally:
            current_answers.reset(token)


def vectors(*texts: str) -> list[list[float]]:
    return [embedding_of(text, EMBEDDING_SIZE) for text in texts]


# ---------------------------------------------------------------- what is asked arrives, what is answered comes back


def test_each_text_gets_its_vector_in_its_place(embeddings: OpenAIEmbeddings, provider_server: ProviderServer) -> None:
    given = embeddings.embed(["one", "two words", "one"])

    assert given == vectors("one", "two words", "one")
    [asked] = provider_server.asked
    assert asked.body == {
        "model": "text-embedding-3-small",
        "input": ["one", "two words", "one"],
        "encoding_format": "base64",
    }


def test_no_text_is_no_request(embeddings: OpenAIEmbeddings, provider_server: ProviderServer) -> None:
    assert embeddings.embed([]) == []
    assert provider_server.asked == []


def test_a_server_that_knows_no_base64_is_understood(provider_server: ProviderServer) -> None:
    embeddings = made(model=FLOATS_ONLY)

    given = embeddings.embed(["one"])

    embeddings.unload()
    assert given == vectors("one")


def test_it_sends_what_it_was_told_to(provider_server: ProviderServer) -> None:
    embeddings = made(dimensions=3, extra_body={"truncate_prompt_tokens": 9}, default_headers={"X-Team": "data"})

    [vector] = embeddings.embed(["one"])

    embeddings.unload()
    [asked] = provider_server.asked
    assert len(vector) == 3
    assert (asked.body["dimensions"], asked.body["truncate_prompt_tokens"]) == (3, 9)
    assert asked.headers["X-Team"] == "data"


def test_texts_are_sent_together_as_far_as_they_may(provider_server: ProviderServer) -> None:
    embeddings = made(texts_per_request=2)

    embeddings.embed(["a", "b", "c", "d", "e"])

    embeddings.unload()
    assert sorted(asked.body["input"] for asked in provider_server.asked) == [["a", "b"], ["c", "d"], ["e"]]


def test_long_texts_are_sent_by_themselves(embeddings: OpenAIEmbeddings, provider_server: ProviderServer) -> None:
    long = "a" * 300_000

    embeddings.embed([long, long, "b"])

    assert sorted([len(text) for text in asked.body["input"]] for asked in provider_server.asked) == [
        [300_000],
        [300_000, 1],
    ]


def test_no_more_requests_are_out_than_it_may_have(provider_server: ProviderServer) -> None:
    provider_server.latency = 0.02
    embeddings = made(texts_per_request=1, max_concurrency=2)

    embeddings.embed([str(number) for number in range(8)])

    embeddings.unload()
    assert provider_server.most_at_once == 2


# ---------------------------------------------------------------- what it took


def usage_of(embeddings: OpenAIEmbeddings, *texts: str) -> Usage:
    meter = Meter()
    token = current_meter.set(meter)
    try:
        embeddings.embed(list(texts))
    finally:
        current_meter.reset(token)
    [usage] = meter.totals()
    return usage


def test_requests_tokens_and_money_are_counted(provider_server: ProviderServer) -> None:
    embeddings = made(texts_per_request=2, prices={"input": 1_000_000, "output": 0})

    usage = usage_of(embeddings, "one", "two words", "three")

    embeddings.unload()
    assert usage.model_copy(update={"seconds": 0.0}) == Usage(
        model="text-embedding-3-small", requests=2, input_tokens=4, output_tokens=0, cost=4.0
    )
    assert usage.seconds > 0


def test_openais_own_prices_are_known() -> None:
    embeddings = OpenAIEmbeddings(model="text-embedding-3-small", base_url="https://api.openai.com/v1")

    cost = embeddings.cost_of(1_000_000)

    assert cost is not None
    assert 0 < cost < 1


def test_a_server_of_ones_own_has_no_price_that_is_known(embeddings: OpenAIEmbeddings) -> None:
    assert usage_of(embeddings, "one").unpriced == 1


# ---------------------------------------------------------------- what fails


def test_a_text_that_is_refused_fails_alone(embeddings: OpenAIEmbeddings, provider_server: ProviderServer) -> None:
    provider_server.fail("bad", status=400, message="no such text")
    book = Book()

    with pytest.raises(RequestsFailedError) as caught:
        book.embed(embeddings, ["one", "two", "bad", "four", "five"])

    assert list(caught.value.failures) == [2]
    assert isinstance(caught.value.failures[2], InvalidRequestError)
    assert "no such text" in str(caught.value.failures[2])
    assert sorted(row for row, _ in book.kept) == [0, 1, 3, 4]


def test_what_was_paid_for_is_not_asked_for_again(
    embeddings: OpenAIEmbeddings, provider_server: ProviderServer
) -> None:
    provider_server.fail("bad", status=400)
    book = Book()
    with pytest.raises(RequestsFailedError):
        book.embed(embeddings, ["one", "two", "bad", "four"])
    provider_server.recover()
    provider_server.asked.clear()

    given = book.embed(embeddings, ["one", "two", "bad", "four"])

    assert given == vectors("one", "two", "bad", "four")
    assert [asked.body["input"] for asked in provider_server.asked] == [["bad"]]


def test_another_model_asks_anew(provider_server: ProviderServer) -> None:
    book = Book()
    for dimensions in (2, 3):
        embeddings = made(dimensions=dimensions)
        [vector] = book.embed(embeddings, ["one"])
        embeddings.unload()

        assert len(vector) == dimensions


def test_a_draining_worker_asks_nothing_more(embeddings: OpenAIEmbeddings, provider_server: ProviderServer) -> None:
    with pytest.raises(DrainedError):
        Book(drains=True).embed(embeddings, ["one"])

    assert provider_server.asked == []


def test_the_only_texts_error_is_raised_as_it_is(once: OpenAIEmbeddings, provider_server: ProviderServer) -> None:
    provider_server.fail("bad", status=400)

    with pytest.raises(InvalidRequestError):
        once.embed(["bad"])


def test_a_rate_limited_request_waits_as_long_as_it_is_told(
    embeddings: OpenAIEmbeddings, provider_server: ProviderServer
) -> None:
    provider_server.fail("one", status=429, retry_after=0.3, times=1)

    assert embeddings.embed(["one"]) == vectors("one")

    first, second = provider_server.times
    assert second - first >= 0.3


def test_a_limit_that_stays_is_an_error_that_says_so(once: OpenAIEmbeddings, provider_server: ProviderServer) -> None:
    provider_server.fail("bad", status=429, retry_after=17, message="slow down")

    with pytest.raises(RequestsFailedError) as caught:
        once.embed(["one", "bad"])

    error = caught.value.failures[1]
    assert isinstance(error, RateLimitedError)
    assert (error.retry_after, "slow down" in str(error)) == (17, True)


@pytest.mark.parametrize("status", [408, 500, 503, 529])
def test_a_passing_fault_is_tried_again(
    embeddings: OpenAIEmbeddings, provider_server: ProviderServer, status: int
) -> None:
    provider_server.fail("one", status=status, retry_after=0.01, times=1)

    assert embeddings.embed(["one"]) == vectors("one")


@pytest.mark.parametrize("damage", ["silence", "hang up", "cut short", "malformed", "page", "no choice"])
def test_a_damaged_answer_is_a_passing_fault_of_its_texts(
    once: OpenAIEmbeddings, provider_server: ProviderServer, damage: Damage
) -> None:
    provider_server.damage("bad", damage)

    with pytest.raises(RequestsFailedError) as caught:
        once.embed(["one", "bad"])

    assert list(caught.value.failures) == [1]
    assert isinstance(caught.value.failures[1], TransientError)
    assert "text-embedding-3-small" in str(caught.value.failures[1])


def test_a_wrong_number_of_vectors_is_asked_for_again(
    embeddings: OpenAIEmbeddings, provider_server: ProviderServer
) -> None:
    provider_server.damage("one", "no choice", times=1)

    assert embeddings.embed(["one", "two"]) == vectors("one", "two")
    assert len(provider_server.asked) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "Incorrect API key"), (403, "Country not supported"), (404, "The model does not exist")],
)
def test_what_no_request_survives_ends_the_step(
    embeddings: OpenAIEmbeddings, provider_server: ProviderServer, status: int, words: str
) -> None:
    provider_server.fail("", status=status, message=words)

    with pytest.raises(StepFatalError, match=words):
        embeddings.embed(["one"])


def test_vectors_of_another_length_than_was_asked_for_end_the_step(provider_server: ProviderServer) -> None:
    embeddings = made(dimensions=7, extra_body={"dimensions": 5})  # as a server that does not know the field

    with pytest.raises(StepFatalError, match=r"vectors of \[5\] numbers, not of the 7"):
        embeddings.embed(["one"])

    embeddings.unload()


# ---------------------------------------------------------------- keys, and what travels


def test_without_a_key_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")

    with pytest.raises(DistilmqUserError, match="`OPENAI_API_KEY`"):
        OpenAIEmbeddings(model="m").load()


def test_a_loaded_model_travels_without_its_client(embeddings: OpenAIEmbeddings) -> None:
    embeddings.embed(["one"])

    copy = pickle.loads(pickle.dumps(embeddings))

    copy.load()
    assert copy.embed(["two"]) == vectors("two")
    copy.unload()


def test_a_dump_holds_no_key_and_makes_the_same_model() -> None:
    embeddings = OpenAIEmbeddings(model="m", dimensions=3)

    dump = embeddings.dump()

    assert KEY not in json.dumps(dump)
    assert OpenAIEmbeddings.from_dict(dump).dump() == dump


def test_using_it_unloaded_is_an_error_that_says_so() -> None:
    embeddings = OpenAIEmbeddings(model="m")

    with pytest.raises(DistilmqUserError, match=r"call `load\(\)` first"):
        embeddings.embed(["one"])

    embeddings.unload()

"""`EmbeddingGeneration`, with a model that needs nothing, and over HTTP in a run of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from distilmq.constants import DISTILMQ_METADATA_KEY
from distilmq.errors import DistilmqTypeError, InvalidRequestError, RowsFailedError
from distilmq.models import Embeddings, OpenAIEmbeddings
from distilmq.steps import EmbeddingGeneration
from distilmq.steps.base import Step
from tests.servers.dialects import EMBEDDING_SIZE, embedding_of
from tests.servers.providers import ProviderServer


class Lengths(Embeddings):
    """A text's vector is its length."""

    @property
    def model_name(self) -> str:
        return "lengths"

    def encode(self, inputs: list[str]) -> list[list[float]]:
        return [[float(len(text))] for text in inputs]


class Forgetful(Lengths):
    """Gives a vector too few."""

    def encode(self, inputs: list[str]) -> list[list[float]]:
        return super().encode(inputs)[1:]


@pytest.fixture
def over_http(provider_server: ProviderServer) -> Iterator[EmbeddingGeneration]:
    step = EmbeddingGeneration(name="embed", embeddings=OpenAIEmbeddings(model="m"))
    step.load()
    yield step
    step.unload()


def run(step: Step, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for rows in step.process_applying_mappings(list(rows)) for row in rows]


def test_each_row_gets_its_vector() -> None:
    step = EmbeddingGeneration(name="embed", embeddings=Lengths())

    rows = run(step, {"text": "one", "n": 1}, {"text": "three", "n": 2})

    assert rows == [
        {"text": "one", "n": 1, "embedding": [3.0], "model_name": "lengths"},
        {"text": "three", "n": 2, "embedding": [5.0], "model_name": "lengths"},
    ]


def test_columns_are_mapped() -> None:
    step = EmbeddingGeneration(
        name="embed",
        embeddings=Lengths(),
        input_mappings={"text": "question"},
        output_mappings={"embedding": "vector"},
    )

    assert run(step, {"question": "one"}) == [{"question": "one", "vector": [3.0], "model_name": "lengths"}]


def test_a_row_that_failed_before_is_passed_on() -> None:
    step = EmbeddingGeneration(name="embed", embeddings=Lengths())
    failed = {"text": None, DISTILMQ_METADATA_KEY: {"error_ask": "it failed"}}

    rows = run(step, failed, {"text": "one"})

    assert rows == [
        {**failed, "embedding": None, "model_name": None},
        {"text": "one", "embedding": [3.0], "model_name": "lengths"},
    ]


def test_a_row_without_text_fails_alone_and_is_told_why() -> None:
    step = EmbeddingGeneration(name="embed", embeddings=Lengths(), input_mappings={"text": "question"})

    with pytest.raises(RowsFailedError) as caught:
        run(step, {"question": "one"}, {"question": 7})

    assert list(caught.value.failures) == [1]
    assert isinstance(caught.value.failures[1], DistilmqTypeError)
    assert "The column 'question' of the step 'embed' has to hold text, this row's is a 'int'" in str(caught.value)


def test_a_model_that_gives_too_few_vectors_is_named() -> None:
    step = EmbeddingGeneration(name="embed", embeddings=Forgetful())

    with pytest.raises(ValueError, match="'lengths' gave 1 vectors for 2 texts"):
        run(step, {"text": "one"}, {"text": "two"})


def test_a_text_that_the_provider_refuses_fails_its_row(
    over_http: EmbeddingGeneration, provider_server: ProviderServer
) -> None:
    provider_server.fail("bad", status=400)

    with pytest.raises(RowsFailedError) as caught:
        run(over_http, {"text": "one"}, {"text": "bad"}, {"text": "three"})

    assert {place: type(error) for place, error in caught.value.failures.items()} == {1: InvalidRequestError}


def test_only_models_that_send_requests_are_at_several_batches_at_once() -> None:
    assert EmbeddingGeneration(name="one", embeddings=OpenAIEmbeddings(model="m")).takes_batches_at_once
    assert not EmbeddingGeneration(name="two", embeddings=Lengths()).takes_batches_at_once


def test_the_vectors_are_those_of_the_server(over_http: EmbeddingGeneration) -> None:
    [row] = run(over_http, {"text": "two words"})

    assert row["embedding"] == embedding_of("two words", EMBEDDING_SIZE)
    assert row["model_name"] == "m"


def test_a_step_saved_by_distilabel_loads() -> None:
    saved = {
        "name": "embed",
        "embeddings": {
            "model": "m",
            "prompts": None,
            "normalize_embeddings": True,
            "cuda_devices": "auto",
            "type_info": {
                "module": "distilabel.models.embeddings.sentence_transformers",
                "name": "SentenceTransformerEmbeddings",
            },
        },
        "type_info": {"module": "distilabel.steps.embeddings.embedding_generation", "name": "EmbeddingGeneration"},
    }

    step = EmbeddingGeneration.from_dict(saved)

    assert (step.embeddings.model_name, step.embeddings.runs_here) == ("m", True)

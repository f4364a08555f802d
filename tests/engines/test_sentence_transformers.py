"""`SentenceTransformerEmbeddings` with a real engine: a tiny model of random weights."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.models import SentenceTransformerEmbeddings

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def embeddings(embedding_model: Path) -> Iterator[SentenceTransformerEmbeddings]:
    model = SentenceTransformerEmbeddings(model=str(embedding_model), device="cpu")
    model.load()
    yield model
    model.unload()


def length(vector: list[float] | list[int]) -> float:
    return math.sqrt(sum(number * number for number in vector))


def test_each_text_gets_its_vector_in_its_place(embeddings: SentenceTransformerEmbeddings) -> None:
    [one, two, again] = embeddings.embed(["one", "another text", "one"])

    assert len(one) == len(two) == 32
    assert one == pytest.approx(again, abs=1e-5)
    assert one != pytest.approx(two, abs=1e-2)
    assert math.isclose(length(one), 1.0, rel_tol=1e-4)


def test_no_text_gives_no_vector(embeddings: SentenceTransformerEmbeddings) -> None:
    assert embeddings.embed([]) == []


def test_vectors_are_made_as_it_is_told(embedding_model: Path, embeddings: SentenceTransformerEmbeddings) -> None:
    told = SentenceTransformerEmbeddings(
        model=str(embedding_model),
        device="cpu",
        truncate_dim=8,
        normalize_embeddings=False,
        prompts={"query": "Query: "},
        default_prompt_name="query",
    )
    told.load()

    [vector] = told.embed(["one"])

    told.unload()
    [whole] = embeddings.embed(["Query: one"])
    assert len(vector) == 8
    assert [number / length(vector) for number in vector] == pytest.approx(
        [number / length(whole[:8]) for number in whole[:8]], abs=1e-3
    )


def test_numbers_may_be_whole(embedding_model: Path) -> None:
    binary = SentenceTransformerEmbeddings(model=str(embedding_model), device="cpu", precision="ubinary")
    binary.load()

    [vector] = binary.embed(["one"])

    binary.unload()
    assert len(vector) == 32 // 8
    assert all(isinstance(number, int) for number in vector)


def test_it_costs_nothing(embeddings: SentenceTransformerEmbeddings) -> None:
    assert embeddings.cost_of(1_000_000) == 0.0


def test_a_loaded_model_travels_without_its_weights(embeddings: SentenceTransformerEmbeddings) -> None:
    pickled = pickle.dumps(embeddings)

    assert len(pickled) < 10_000
    with pytest.raises(DistilmqUserError, match=r"call `load\(\)` first"):
        pickle.loads(pickled).embed(["one"])


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="cannot be loaded by sentence-transformers"):
        SentenceTransformerEmbeddings(model=str(tmp_path / "no"), device="cpu").load()

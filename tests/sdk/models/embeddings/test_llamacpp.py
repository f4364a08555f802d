"""`LlamaCppEmbeddings` with a real model: Gemma 3 270M from the package index."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest

from distilmq.errors import DistilmqUserError, TooLongError
from distilmq.models import Embeddings, LlamaCppEmbeddings
from distilmq.models.llms.gguf import quickstart_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quickstart_weights(tmp_path_factory.mktemp("weights"))


def made(weights: Path, **fields: object) -> LlamaCppEmbeddings:
    return LlamaCppEmbeddings.model_validate(
        {"model": weights.name, "model_path": str(weights.parent), "n_ctx": 64, **fields}
    )


@pytest.fixture(scope="module")
def embeddings(weights: Path) -> Iterator[LlamaCppEmbeddings]:
    model = made(weights, normalize_embeddings=True)
    model.load()
    yield model
    model.unload()


def likeness(one: list[float] | list[int], other: list[float] | list[int]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_texts_of_one_meaning_have_vectors_that_are_near(embeddings: LlamaCppEmbeddings) -> None:
    cat, kitten, tax = embeddings.embed(
        ["The cat sleeps on the sofa.", "A kitten is asleep on the couch.", "Taxes are due in April."]
    )

    assert likeness(cat, kitten) > likeness(cat, tax)


def test_a_vector_has_the_length_of_one_when_it_is_asked_to(embeddings: LlamaCppEmbeddings) -> None:
    [vector] = embeddings.embed(["A queue"])

    assert len(vector) == 640
    assert math.isclose(likeness(vector, vector), 1.0, rel_tol=1e-3)


def test_a_vector_is_left_as_it_is_when_it_is_not(weights: Path, embeddings: LlamaCppEmbeddings) -> None:
    plain = made(weights, model="gemma", model_path=str(weights))  # the file itself may be the path, too
    plain.load()

    [vector] = plain.embed(["A queue"])

    plain.unload()
    [scaled] = embeddings.embed(["A queue"])
    length = math.sqrt(likeness(vector, vector))
    assert length > 2
    assert likeness(scaled, vector) / length > 0.999


def test_a_text_that_is_too_long_is_an_error_that_says_so(embeddings: LlamaCppEmbeddings) -> None:
    with pytest.raises(TooLongError, match="too large"):
        embeddings.embed(["word " * 700])


def test_no_text_gives_no_vector(embeddings: LlamaCppEmbeddings) -> None:
    assert embeddings.embed([]) == []


def test_it_costs_nothing(embeddings: LlamaCppEmbeddings) -> None:
    assert embeddings.cost_of(1_000_000) == 0.0


def test_a_loaded_model_travels_without_its_weights(embeddings: LlamaCppEmbeddings) -> None:
    copy = cloudpickle.loads(cloudpickle.dumps(embeddings))

    assert copy.dump() == embeddings.dump()
    with pytest.raises(DistilmqUserError, match=r"call `load\(\)` first"):
        copy.embed(["one"])


def test_it_says_when_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match="there is no such file"):
        LlamaCppEmbeddings(model="no.gguf", model_path=str(tmp_path)).load()


def test_it_says_when_it_is_not_told_where_the_file_is() -> None:
    with pytest.raises(DistilmqUserError, match="needs one of `model_path` and `repo_id`"):
        LlamaCppEmbeddings(model="no.gguf").load()


def test_a_repository_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(DistilmqUserError, match=r"The Hub does not give 'no\.gguf' of 'org/model'"):
        LlamaCppEmbeddings(model="no.gguf", repo_id="org/model").load()


def test_a_model_saved_by_distilabel_loads() -> None:
    saved = {
        "model": "m.gguf",
        "model_path": "folder",
        "n_gpu_layers": -1,
        "n_ctx": 512,
        "n_batch": 512,
        "seed": 4294967295,
        "normalize_embeddings": False,
        "verbose": False,
        "extra_kwargs": {},
        "cuda_devices": "auto",
        "disable_cuda_device_placement": True,
        "type_info": {"module": "distilabel.models.embeddings.llamacpp", "name": "LlamaCppEmbeddings"},
    }

    loaded = Embeddings.from_dict(saved)

    assert isinstance(loaded, LlamaCppEmbeddings)
    assert {name: loaded.dump()[name] for name in saved if name != "type_info"} == {
        name: value for name, value in saved.items() if name != "type_info"
    }

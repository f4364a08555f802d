"""A key that nobody has is asked for before anything starts, where the model is going to be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.models import (
    AnthropicLLM,
    ClientvLLM,
    CohereLLM,
    MistralLLM,
    MixtureOfAgentsLLM,
    OpenAIEmbeddings,
    OpenAILLM,
)
from distilmq.pipeline import Pipeline
from distilmq.pipeline.keys import check_keys
from distilmq.pipeline.prepare import Prepared, RunOptions, prepare
from distilmq.steps import EmbeddingGeneration, LoadDataFromDicts
from distilmq.steps.tasks import TextGeneration

VARIABLES = ("OPENAI_API_KEY", "MISTRAL_API_KEY", "ANTHROPIC_API_KEY", "CO_API_KEY", "COHERE_API_KEY")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def prepared(kind: type[Any], **fields: Any) -> Prepared:
    with Pipeline("keys") as pipeline:
        LoadDataFromDicts(name="load", data=[{"instruction": "x", "text": "x"}]) >> kind(**fields)
    return prepare(pipeline.dag, RunOptions())


def asking(llm: Any) -> Prepared:
    return prepared(TextGeneration, name="ask", llm=llm)


def checked(found: Prepared, cache_dir: Path | None = None) -> None:
    check_keys(found.dag, found.signatures, cache_dir)


@pytest.mark.parametrize("kind", [OpenAILLM, MistralLLM, AnthropicLLM, CohereLLM])
def test_a_model_without_its_key_is_named_with_its_step_and_the_variable(kind: type[Any]) -> None:
    with pytest.raises(DistilmqUserError, match=rf"Step 'ask': To use `{kind.__name__}` an API key .*_API_KEY"):
        checked(asking(kind(model="m")))


def test_models_that_give_vectors_and_models_within_models_are_looked_at() -> None:
    within = MixtureOfAgentsLLM(
        aggregator_llm=OpenAILLM(model="m", api_key=SecretStr("k")), proposers_llms=[MistralLLM(model="m")]
    )

    with pytest.raises(DistilmqUserError, match="`MistralLLM`"):
        checked(asking(within))
    with pytest.raises(DistilmqUserError, match="`OpenAIEmbeddings`"):
        checked(prepared(EmbeddingGeneration, name="embed", embeddings=OpenAIEmbeddings(model="m")))


def test_a_key_that_was_given_or_is_in_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    checked(asking(OpenAILLM(model="m", api_key=SecretStr("k"))))
    checked(asking(ClientvLLM(model="m", base_url="http://localhost:1")))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    checked(asking(OpenAILLM(model="m")))


def test_a_model_or_step_that_the_user_loads_may_know_its_key() -> None:
    class Own(OpenAILLM):
        def load(self) -> None:
            self.api_key = SecretStr("from a vault")
            super().load()

    class OwnTask(TextGeneration):
        def load(self) -> None:
            self.llm.api_key = SecretStr("from a vault")  # type: ignore[attr-defined]  # it is an OpenAILLM
            super().load()

    checked(asking(Own(model="m")))
    checked(prepared(OwnTask, name="ask", llm=OpenAILLM(model="m")))


def test_a_step_that_was_run_before_need_not_be_loaded(tmp_path: Path) -> None:
    found = asking(OpenAILLM(model="m"))
    with pytest.raises(DistilmqUserError, match="API key"):
        checked(found, tmp_path)
    (tmp_path / "signatures" / found.signatures["ask"].digest).mkdir(parents=True)

    checked(found, tmp_path)


def test_a_run_without_a_key_starts_nothing(tmp_path: Path) -> None:
    with Pipeline("keys", cache_dir=tmp_path) as pipeline:
        LoadDataFromDicts(data=[{"instruction": "x"}]) >> TextGeneration(name="ask", llm=OpenAILLM(model="m"))

    for run in (pipeline.run, pipeline.dry_run):
        with pytest.raises(DistilmqUserError, match=r"Step 'ask': .*`OPENAI_API_KEY`"):
            run()

    assert list(tmp_path.iterdir()) == []

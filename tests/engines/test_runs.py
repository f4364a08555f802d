"""Engines in the processes of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilmq.models import SentenceTransformerEmbeddings, TransformersLLM
from distilmq.pipeline import Pipeline
from distilmq.steps import EmbeddingGeneration, LoadDataFromDicts
from distilmq.steps.tasks import TextGeneration

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]  # torch is imported in each process


def test_a_run_loads_each_model_in_a_process_of_its_own(language_model: Path, embedding_model: Path) -> None:
    llm = TransformersLLM(model=str(language_model), device="cpu", generation_kwargs={"max_new_tokens": 4})
    embeddings = SentenceTransformerEmbeddings(model=str(embedding_model), device="cpu")
    with Pipeline("engines") as pipeline:
        load = LoadDataFromDicts(data=[{"text": f"text {n}", "instruction": f"question {n}"} for n in range(6)])
        ask = TextGeneration(name="ask", llm=llm, input_batch_size=3)
        load >> ask >> EmbeddingGeneration(name="embed", embeddings=embeddings, output_mappings={"model_name": "by"})

    rows = pipeline.run()["default"]["train"].to_list()

    assert [len(row["embedding"]) for row in rows] == [32] * 6
    assert all(isinstance(row["generation"], str) for row in rows)
    assert [row["by"] for row in rows] == [str(embedding_model)] * 6
    taken = {usage.step: (usage.requests, usage.cost) for usage in pipeline.last_run.usage.by_model}
    assert taken["ask"] == (6, 0.0)

"""The types that a user's script sees: checked by pyright, never run."""

# Connecting steps with `>>` and nothing else is what is typed here.
# pyright: reportUnusedExpression=false

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from distilmq.distiset import Distiset
from distilmq.models import LLM, Embeddings, MixtureOfAgentsLLM, OpenAIEmbeddings, OpenAILLM
from distilmq.pipeline import (
    Estimate,
    ModelUsage,
    Pipeline,
    RayPipeline,
    RunUsage,
    routing_batch_function,
    sample_n_steps,
)
from distilmq.steps import EmbeddingGeneration, GroupColumns, LoadDataFromDicts, Step, StepResources
from distilmq.typing import GenerateOutput


def building_a_pipeline() -> None:
    with Pipeline("typed", description="…") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"x": 1}], batch_size=1)
        group = GroupColumns(columns=["x"], resources=StepResources(replicas=2))

        assert_type(load >> group, GroupColumns)
        load.connect(group)

    assert_type(pipeline, Pipeline)


def routing() -> None:
    @routing_batch_function
    def first(steps: list[str]) -> list[str]:
        return steps[:1]

    load = LoadDataFromDicts(data=[{"x": 1}])
    steps: list[Step] = [GroupColumns(columns=["x"]), GroupColumns(columns=["x"])]
    load >> first >> steps
    load >> sample_n_steps(1) >> steps


def running(pipeline: Pipeline) -> None:
    assert_type(pipeline.run(parameters={"load": {"batch_size": 2}}), Distiset)
    assert_type(pipeline.dry_run(batch_size=2), Distiset)
    pipeline.run(dataset=[{"x": 1}], use_cache=False)
    pipeline.run(max_cost=2.5, max_tokens=100_000)


def running_on_ray(pipeline: Pipeline) -> None:
    assert_type(pipeline.ray(), RayPipeline)
    assert_type(pipeline.ray("head:6379", {"runtime_env": {}}).run(), Distiset)


def counting(pipeline: Pipeline) -> None:
    assert_type(pipeline.estimate(rows=1000), Estimate)
    if pipeline.last_run is not None:
        assert_type(pipeline.last_run.usage, RunUsage)
        assert_type(next(iter(pipeline.last_run.usage)), ModelUsage)
        assert_type(pipeline.last_run.usage.total.cost, float | None)


def computing_failed_rows_again(pipeline: Pipeline) -> None:
    if pipeline.last_run is not None:
        assert_type(pipeline.last_run.retry_failures(step="ask", error="TransientError").distiset(), Distiset)


def asking_embeddings(embeddings: OpenAIEmbeddings) -> None:
    assert_type(embeddings.embed(["one"]), list[list[float] | list[int]])
    assert_type(EmbeddingGeneration(embeddings=embeddings).embeddings, Embeddings)


def asking_together(aggregator: OpenAILLM, proposers: list[LLM]) -> None:
    llm = MixtureOfAgentsLLM(aggregator_llm=aggregator, proposers_llms=proposers, rounds=2)
    assert_type(llm.generate_outputs([[{"role": "user", "content": "Hi"}]]), Sequence[GenerateOutput])

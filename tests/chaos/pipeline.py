"""The pipeline that chaos is let loose on: a fork, a model, a join, routing and a global step; its rows are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from distilmq.models import OpenAILLM
from distilmq.pipeline import Pipeline, routing_batch_function
from distilmq.pipeline.compile import Compiled, compile_plan
from distilmq.pipeline.prepare import RunOptions, prepare
from distilmq.protocol.plan import DatasetSpec, Plan, RunSettings
from distilmq.steps import LoadDataFromDicts, StepResources
from distilmq.steps.routing import RoutingBatchFunction
from distilmq.steps.tasks import TextGeneration
from tests.chaos import steps
from tests.chaos.steps import Row
from tests.reference import Reference
from tests.servers.providers import KEY

COLORS = ("red", "green", "blue")
"""Of which two get each batch."""
LEAF = "close"
SIZE = 4
"""Rows in a batch of the generator."""
PAUSE = 0.1
"""Seconds that a batch takes in the slow steps."""


def compiled(rows: int, server: str, *, liveness: float) -> Compiled:
    """The pipeline as it is submitted, and the key that only its client knows.

    Args:
        rows: how many.
        server: address of the model.
        liveness: seconds of silence after which a host is given up.
    """
    with Pipeline("chaos") as pipeline:
        load = LoadDataFromDicts(name="load", data=data(rows), batch_size=SIZE)
        double = steps.Doubling(name="double", input_batch_size=SIZE, pause=PAUSE, resources=StepResources(replicas=2))
        llm = OpenAILLM(model="m", base_url=f"{server}/openai/v1", api_key=SecretStr(KEY))
        ask = TextGeneration(name="ask", llm=llm, input_batch_size=SIZE)
        join = steps.Joining(name="join", input_batch_size=2 * SIZE)
        colors = [steps.Coloring(name=color, input_batch_size=2 * SIZE, pause=PAUSE) for color in COLORS]
        mix = steps.Mixing(name="mix", input_batch_size=2 * SIZE)
        rank = steps.Ranking(name="rank")
        close = steps.Closing(name=LEAF, input_batch_size=4 * SIZE)
        load >> [double, ask] >> join >> _two_of_them() >> colors >> mix >> rank >> close
    prepared = prepare(pipeline.dag, RunOptions())
    return compile_plan(
        prepared.dag,
        name=pipeline.name,
        description="",
        signatures=prepared.signatures,
        stages=prepared.stages,
        # So few rows may wait that the generator is at work almost to the end.
        settings=RunSettings(heartbeat=0.2, liveness=liveness, use_cache=False, waiting_rows=16 * SIZE),
        travels=DatasetSpec(),
    )


def _two_of_them() -> RoutingBatchFunction:
    """Chooses what nobody can foresee; it travels by value, as the function of a script does."""

    def choose(steps: list[str]) -> list[str]:
        import random

        return random.sample(steps, 2)

    return routing_batch_function()(choose)


def data(rows: int) -> list[Row]:
    """What the generator gives."""
    return [{"n": n, "instruction": f"say {n}"} for n in range(rows)]


def batches(rows: int) -> int:
    """How many all steps have together, if none is halved: the routed ones get two in three of theirs."""
    each = rows // SIZE
    return 3 * each + each // 2 + 2 * (each // 2) + each // 2 + 1 + each // 4


def expected(plan: Plan, rows: int, routes: Mapping[str, list[list[str]]]) -> dict[str, list[Row]]:
    """The rows of each step, given where each batch was routed to, as the ledger has it."""
    left = {step: list(chosen) for step, chosen in routes.items()}

    def process(step: str, inputs: Mapping[str, Sequence[Row]]) -> list[Any]:
        if not inputs:
            given = data(rows)
            return [given[at : at + SIZE] for at in range(0, rows, SIZE)]
        return steps.GIVEN[step](*inputs.values())

    def choose(step: str, values: Sequence[Row], successors: Sequence[str]) -> list[str]:
        return left[step].pop(0)

    return Reference(plan, process, choose).values

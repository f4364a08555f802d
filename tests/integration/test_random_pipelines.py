"""Thirty drawn pipelines over real processes: every row is that of the sequential reference."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from distilmq.distiset import Distiset
from distilmq.protocol.plan import Plan
from tests.broker.core.behaviour import Behaviour
from tests.broker.core.drawn import pipelines
from tests.integration.drawn_pipelines import Ledger, as_pipeline, run, runnable, unnamed, value_of
from tests.reference import Reference


@pytest.mark.timeout(600)
@settings(
    max_examples=30,
    derandomize=True,
    # A run takes seconds: the seed reproduces what fails, and nobody waits for a smaller example.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(pipelines(most_steps=6, most_rows=60))
def test_any_pipeline_gives_the_rows_of_the_reference(tmp_path: Path, drawn: tuple[Plan, Behaviour]) -> None:
    plan, behaviour = runnable(*drawn)
    directory = Path(tempfile.mkdtemp(dir=tmp_path))

    compiled, distiset = run(plan, as_pipeline(plan, behaviour), directory)

    ledger = Ledger(directory)
    expected = reference(compiled, behaviour, ledger).values
    assert leaves_of(compiled, distiset) == {leaf: expected[leaf] for leaf in compiled.leaves}
    assert {name: rows for name, rows in ledger.rows.items() if rows} == {
        name: len(values) for name, values in expected.items() if values
    }
    assert not any(ledger.routes.values()), "every recorded choice was taken"


def reference(plan: Plan, behaviour: Behaviour, ledger: Ledger) -> Reference:
    def process(step: str, inputs: Mapping[str, Sequence[str]]) -> list[str]:
        return unnamed(behaviour, step, list(inputs.values()))

    def choose(step: str, values: Sequence[str], successors: Sequence[str]) -> list[str]:
        # What a routing function chose cannot be foreseen: the reference takes what was recorded.
        return ledger.routes[step].pop(0)

    return Reference(plan, process, choose)


def leaves_of(plan: Plan, distiset: Distiset) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for leaf in plan.leaves:
        subset = distiset["default" if len(plan.leaves) == 1 else leaf]["train"]
        found[leaf] = [leaf_value(leaf, row) for row in subset]
    return found


def leaf_value(leaf: str, row: Mapping[str, object]) -> str:
    if row["value"] is not None:
        return str(row["value"])
    metadata = row["distilmq_metadata"]
    assert isinstance(metadata, dict)
    return value_of({"value": None, "distilmq_metadata": {leaf: metadata[f"error_{leaf}"]}})

"""A run whose steps share fewer slots than there are steps: none is loaded again and again, however little waits."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from distilmq.pipeline import Pipeline
from distilmq.steps import LoadDataFromDicts
from tests.broker.front.brokers import broker_in
from tests.integration import hosted_steps as samples
from tests.integration.hosts import fetched, hosts_of, outcome, plan_of, submit

ROWS = 200
STEPS = ("first", "second", "third")


@pytest.mark.parametrize("slots", [1, 2])
def test_steps_that_share_slots_are_not_loaded_again_and_again(tmp_path: Path, slots: int) -> None:
    loads = tmp_path / "loads"
    with Pipeline("sharing") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"n": number} for number in range(ROWS)], batch_size=10)
        first, second, third = (
            samples.Loaded(name=name, loads=str(loads), input_batch_size=10, pause=0.05) for name in STEPS
        )
        load >> first >> second >> third

    with broker_in(tmp_path / "broker", options=["--liveness", "3"]) as program, hosts_of(program, tmp_path) as hosts:
        submit(program, "r", plan_of(pipeline, waiting_rows=20))
        hosts.start("h", "--slots", str(slots))
        finished = outcome(program, "r")
        rows = fetched(program, "r", "third")

    times = collections.Counter(loads.read_text().split())
    assert finished.outcome == "done"
    assert [row["n"] for row in rows] == list(range(ROWS))
    assert set(times) == set(STEPS)
    assert max(times.values()) <= 2, times

"""The coordinator dies at each point in the order of effects: the next run gives the exact dataset, nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilmq_broker.crash_points import POINTS
from tests.integration.accounts import Chain, assert_the_rest_is_done_once, done, recorded

CHAIN = Chain(batches=40, pause=0.005)
"""Slow enough that results come one by one: records that come together share a commit."""
LONG_CHAIN = Chain(batches=800, size=1, pause=0.002)
"""A checkpoint is due after four hundred commits."""
TIMES = {"rotation": 2, "checkpoint": 1}
"""At the how-maniest time it dies; at all other points in the middle of the run."""


@pytest.mark.parametrize("point", POINTS)
def test_a_coordinator_that_dies_there_loses_nothing(tmp_path: Path, point: str) -> None:
    chain = LONG_CHAIN if point == "checkpoint" else CHAIN
    parts = {"DISTILMQ_MAX_PART": "1"} if point == "after_part" else {}
    script = chain.script(tmp_path / "run", DISTILMQ_ROTATE_AT="1000", **parts)

    code = script.run(env={"DISTILMQ_CRASH_AT": f"{point}:{TIMES.get(point, 20)}"})

    assert code == 1
    assert "The coordinator of the run died (by signal 9)" in script.output
    assert "run the script again to go on from there" in script.output
    assert recorded(script, chain) <= set(done(script))
    assert 0 < len(recorded(script, chain)) < len(chain.work)
    assert_the_rest_is_done_once(script, chain)


def test_a_run_that_dies_again_and_again_comes_to_an_end(tmp_path: Path) -> None:
    chain = Chain(batches=6)
    script = chain.script(tmp_path / "run")

    lives, before = 0, -1
    while script.run(env={"DISTILMQ_CRASH_AT": "before_ack:4"}) != 0:
        lives += 1
        assert len(recorded(script, chain)) > before, "each life records more than the one before"
        before = len(recorded(script, chain))

    assert_the_rest_is_done_once(script, chain)
    assert lives > 1

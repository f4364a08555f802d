"""Many workers on one broker and one coordinator: all get in, their beats cost little, and no run starves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import crowd
from tests.broker.front.brokers import Program, broker_in


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with broker_in(tmp_path / "broker") as started:
        yield started


def test_hundreds_of_workers_join_and_their_beats_take_a_small_part_of_a_core(program: Program) -> None:
    figures = crowd.joining(program, 300, seconds=3.0)

    # Seconds of the processor, which other work on the machine does not change much.
    assert figures["broker_joining"] < 1.0
    assert figures["coordinator_joining"] < 1.0
    assert figures["broker_beats"] < 0.1
    assert figures["coordinator_beats"] < 0.1


def test_each_of_many_steps_gets_its_share_of_a_hundred_workers_and_the_run_ends(program: Program) -> None:
    figures = crowd.between_steps(program, 100)

    assert figures["fewest"] > 0.8
    assert figures["chain_run"] > 0


def test_a_small_slow_run_goes_on_beside_a_large_fast_one(program: Program) -> None:
    figures = crowd.sharing(program, 20, batches=10_000, slow=0.1)

    assert figures["slow_run"] < figures["fast_run"]

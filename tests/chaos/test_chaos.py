"""Twelve seeds of chaos: whatever is killed, frozen or cut, the rows are exact, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.schedule import EVERY_TIME, KINDS, drawn
from tests.chaos.story import tell

SEEDS = range(12)


@pytest.mark.chaos
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_are_exact_and_nothing_is_left_behind(tmp_path: Path, seed: int) -> None:
    told = tell(seed, tmp_path)

    assert not told.wrong, str(told)


def test_a_seed_says_everything_and_twelve_do_everything_there_is() -> None:
    schedules = [drawn(seed) for seed in SEEDS]

    assert schedules == [drawn(seed) for seed in SEEDS]
    assert all({fault.kind for fault in schedule.faults} >= set(EVERY_TIME) for schedule in schedules)
    assert {fault.kind for schedule in schedules for fault in schedule.faults} == set(KINDS)

"""Memory does not grow with the size of a result: of the client that fetches it, the broker, and the coordinator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.large_result import peaks_of


@pytest.mark.timeout(400)
def test_four_times_the_rows_take_the_same_memory(tmp_path: Path) -> None:
    # With less, what a process keeps for its next messages has not grown to what it is for good.
    few = peaks_of(120, 2.0, tmp_path / "few")
    many = peaks_of(480, 2.0, tmp_path / "many")

    assert set(many) == {"client", "broker", "coordinator"}
    assert all(many[part] <= 1.2 * few[part] for part in few), (few, many)
    assert max(many.values()) < 300


@pytest.mark.timeout(400)
def test_what_a_command_fetches_takes_no_more_memory_than_a_script(tmp_path: Path) -> None:
    peaks = peaks_of(480, 2.0, tmp_path, "fetch")

    assert set(peaks) == {"client", "broker", "coordinator"}
    assert max(peaks.values()) < 300


@pytest.mark.timeout(400)
def test_rows_that_are_larger_than_a_plan_may_be_are_submitted_by_a_script_that_holds_them(tmp_path: Path) -> None:
    megabytes = 150
    peaks = peaks_of(megabytes, 2.0, tmp_path, "list")

    assert set(peaks) == {"submitter", "client", "broker", "coordinator"}
    assert max(peaks["client"], peaks["broker"], peaks["coordinator"]) < 300
    assert peaks["submitter"] < 2 * megabytes + 100


@pytest.mark.timeout(400)
def test_a_result_of_one_large_batch_takes_no_more_memory_than_many_small_ones(tmp_path: Path) -> None:
    peaks = peaks_of(150, 150.0, tmp_path)

    assert max(peaks.values()) < 300
    assert peaks["coordinator"] < 150

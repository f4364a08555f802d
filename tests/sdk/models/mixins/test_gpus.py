"""No two models on one GPU: claims of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.models import CudaDevicePlacementMixin
from distilmq.models.mixins.gpus import VISIBLE, claim, visible_devices

OTHER = """
import sys
from pathlib import Path
from distilmq.models.mixins.gpus import claim

taken = claim(["0", "1", "2"], 2, who="Other", folder=Path(sys.argv[1]))
print(*taken.devices, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has taken the first two of three."""
    command = [sys.executable, "-c", OTHER, str(tmp_path / "locks")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0 1\n"
        yield process
        process.kill()


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment is put back after the test."""
    monkeypatch.setenv(VISIBLE, "before")
    return monkeypatch


@pytest.mark.usefixtures("other")
def test_a_gpu_that_another_process_has_is_passed_over(tmp_path: Path) -> None:
    mine = claim(["0", "1", "2"], 1, who="Mine", folder=tmp_path / "locks")

    assert mine.devices == ("2",)

    mine.release()


@pytest.mark.usefixtures("other")
def test_too_few_that_are_free_are_an_error_that_names_the_ways_out(tmp_path: Path) -> None:
    for _ in range(2):  # and what was taken meanwhile is given back
        with pytest.raises(DistilmqUserError, match=r"`Mine` needs 2 GPUs, and 1 of \['0', '1', '2'\] are not taken"):
            claim(["0", "1", "2"], 2, who="Mine", folder=tmp_path / "locks")


def test_what_a_process_had_is_free_when_it_is_killed(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()

    mine = claim(["0", "1", "2"], 3, who="Mine", folder=tmp_path / "locks")

    assert mine.devices == ("0", "1", "2")

    mine.release()


def test_the_environment_says_which_gpus_there_are_else_the_driver_does(
    tmp_path: Path, visible: pytest.MonkeyPatch
) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()

    visible.setenv(VISIBLE, "3, GPU-8")
    assert visible_devices(tmp_path) == ["3", "GPU-8"]

    visible.setenv(VISIBLE, "")
    assert visible_devices(tmp_path) == []

    visible.delenv(VISIBLE)
    assert visible_devices(tmp_path) == ["0", "1"]
    assert visible_devices(tmp_path / "no driver") == []


def test_a_model_sees_its_gpus_alone(tmp_path: Path, visible: pytest.MonkeyPatch) -> None:
    visible.setattr(tempfile, "tempdir", str(tmp_path))
    visible.setenv(VISIBLE, "4,5")
    first, told = CudaDevicePlacementMixin(), CudaDevicePlacementMixin(cuda_devices=[2, 7])
    left_alone = CudaDevicePlacementMixin(disable_cuda_device_placement=True)

    left_alone.load()
    assert os.environ[VISIBLE] == "4,5"

    first.load()
    assert os.environ[VISIBLE] == "4"

    told.load()
    assert os.environ[VISIBLE] == "2,7"

    for model in (first, told, left_alone):
        model.unload()

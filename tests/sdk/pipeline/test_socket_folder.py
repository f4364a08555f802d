"""Folders of sockets that killed scripts left behind are removed by the next run, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilmq.pipeline.socket_folder import SocketFolder, sweep


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SocketFolder]:
    folder = SocketFolder(str(tmp_path))
    yield folder
    folder.remove()


def test_a_folder_in_use_is_left_alone(folder: SocketFolder, tmp_path: Path) -> None:
    sweep(str(tmp_path), young=0)

    assert folder.path.exists()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_coordinator_still_lives_is_left_alone(folder: SocketFolder, tmp_path: Path) -> None:
    lives = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, stderr=folder.errors
    )
    folder.errors.close()

    sweep(str(tmp_path), young=0)
    assert folder.path.exists()

    lives.communicate()
    deadline = time.monotonic() + 10
    while folder.path.exists() and time.monotonic() < deadline:
        sweep(str(tmp_path), young=0)
    assert not folder.path.exists()


def test_a_folder_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / f"distilmq-{os.getuid()}-abc").mkdir()
    (tmp_path / f"distilmq-{os.getuid()}-abc" / "stderr").touch()

    sweep(str(tmp_path))

    assert len(list(tmp_path.iterdir())) == 1


def test_what_others_keep_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "distilmq-tests").mkdir()
    (tmp_path / "distilmq-tests" / "stderr").touch()

    sweep(str(tmp_path), young=0)

    assert (tmp_path / "distilmq-tests").exists()

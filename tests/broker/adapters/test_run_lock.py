"""One coordinator per run."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from distilmq_broker.adapters.run_lock import RunLock, RunLockedError, read_lock


def test_a_second_coordinator_is_told_who_has_the_run_and_how_to_attach(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.describe(epoch=3, endpoint="ipc:///tmp/x/c")

    with pytest.raises(RunLockedError) as caught:
        RunLock(tmp_path)
    lock.release()

    message = str(caught.value)
    assert f"process {os.getpid()} on {socket.gethostname()} (epoch 3)" in message
    assert "Attach to it at ipc:///tmp/x/c" in message


def test_a_lock_whose_holder_is_gone_is_free(tmp_path: Path) -> None:
    first = RunLock(tmp_path)
    first.describe(epoch=1, endpoint="ipc:///tmp/x/c")
    first.release()

    second = RunLock(tmp_path)

    assert read_lock(tmp_path)["epoch"] == 1
    second.release()


def test_a_holder_that_has_not_described_itself_yet_is_said_to_be_starting(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)

    with pytest.raises(RunLockedError, match="another coordinator is starting"):
        RunLock(tmp_path)
    lock.release()

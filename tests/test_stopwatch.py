"""A stopwatch sees what sleeps, and not what waits for a processor that others have."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.stopwatch import Stopwatch


def test_it_counts_no_more_than_the_clock_shows() -> None:
    began = time.monotonic()
    watch = Stopwatch()

    threading.Event().wait(0.05)

    assert watch.seconds <= time.monotonic() - began


def test_the_time_in_which_two_want_one_processor_is_left_out() -> None:
    if not Path("/proc/pressure/cpu").exists():
        pytest.skip("this kernel does not count who waits for a processor")
    code = (
        "import os, time\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "end = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
    )
    watch, began = Stopwatch(), time.monotonic()

    busy = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in busy] == [0, 0]

    assert watch.seconds < (time.monotonic() - began) / 2

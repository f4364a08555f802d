"""The worker program's command line."""

from __future__ import annotations

import subprocess
import sys

from distilmq_workers.cli import read_settings


def test_a_worker_has_a_name_and_one_slot_unless_it_is_told_otherwise() -> None:
    settings = read_settings(["--endpoint", "ipc:///tmp/c", "--no-lifeline"])

    assert (settings.endpoint, settings.slots, settings.lifeline) == ("ipc:///tmp/c", 1, None)
    assert settings.worker


def life_line(**stdin: int) -> str:
    code = "from distilmq_workers.cli import read_settings; print(read_settings(['--endpoint', 'x']).lifeline)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, **stdin)
    return done.stdout.strip()


def test_a_pipe_is_a_life_line_and_nothing_is_none() -> None:
    piped = subprocess.Popen(["sleep", "0"], stdout=subprocess.PIPE)
    assert piped.stdout is not None
    with piped, piped.stdout as pipe:
        assert life_line(stdin=pipe.fileno()) == "0"
    assert life_line(stdin=subprocess.DEVNULL) == "None"

"""The folder of a process's artifacts: its own while it lives, and removed when it was killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distilmq_workers.artifacts import ArtifactCarrier, sweep

SAVING = """
import sys
from pathlib import Path
from distilmq_workers.artifacts import ArtifactCarrier

carrier = ArtifactCarrier("s", "draw", Path(sys.argv[1]))
(carrier.folder / "one.txt").write_text("one")
print("saved", flush=True)
sys.stdin.read()
"""


@contextmanager
def saving(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has saved an artifact and lives until it is killed."""
    command = [sys.executable, "-c", SAVING, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        yield process
        process.kill()


def test_the_folder_of_a_process_that_was_killed_is_swept_away(tmp_path: Path) -> None:
    with saving(tmp_path) as process:
        process.kill()
        process.wait()
        before = [path.name for path in tmp_path.rglob("*.txt")]
        sweep(tmp_path)

    assert before == ["one.txt"]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_process_that_lives_stays(tmp_path: Path) -> None:
    with saving(tmp_path):
        sweep(tmp_path)

        assert [path.name for path in tmp_path.rglob("*.txt")] == ["one.txt"]


def test_a_folder_that_is_not_needed_any_more_is_removed_with_its_lock(tmp_path: Path) -> None:
    carrier = ArtifactCarrier("s", "draw", tmp_path)

    carrier.remove()

    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        list(carrier.folder.iterdir())

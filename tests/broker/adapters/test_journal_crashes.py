"""kill -9 of a real writer: nothing that it said was committed is missing, and what is there can be read."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distilmq_broker.core.facts import Slice
from distilmq_broker.crash_points import POINTS
from tests.broker.adapters.journal_writer import content
from tests.broker.recorded import journal_in, places_of

ROTATE_AT = 200_000
OWN_POINTS = [point for point in POINTS if point not in ("before_ack", "before_send", "after_part")]
"""Points that lie in the journal; the others are the service's."""


def test_nothing_committed_is_missing_after_kills_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(7)
    committed = 0

    for seed in range(12):
        writer = _start(tmp_path, "", seed)
        assert writer.stdout is not None
        for _ in range(chance.randint(1, 60)):
            committed = int(writer.stdout.readline())
        # Whatever the writer is doing now, the outcome must be the same.
        writer.kill()
        committed = max([committed, *_numbers(writer)])

    _check(tmp_path, committed)
    assert committed > 100


@pytest.mark.parametrize("point", OWN_POINTS)
def test_nothing_committed_is_missing_after_a_crash_at(tmp_path: Path, point: str) -> None:
    committed = 0

    for times in (1, 2):
        writer = _start(tmp_path, f"{point}:{times}", times)
        committed = max([committed, *_numbers(writer)])
        assert writer.returncode == -signal.SIGKILL

    _check(tmp_path, committed)


def test_the_log_cut_at_any_byte_leaves_a_prefix(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    writer = _start(folder, "before_payload:30", 1)
    committed = max(_numbers(writer))
    log = folder / "ledger.db-wal"
    whole = log.read_bytes()

    for length in range(len(whole) - 1, len(whole) - 6_000, -150):
        for shm in folder.glob("ledger.db-shm"):
            shm.unlink()
        log.write_bytes(whole[:length])
        copy = _copied(folder, tmp_path / f"cut-{length}")
        with journal_in(copy) as journal:
            places = places_of(journal, "load")
            assert places == list(range(len(places)))
            assert committed - 20 < len(places) <= committed
            assert journal.payload("load", (len(places) - 1,)) == content(len(places) - 1)


def _start(folder: Path, crash_at: str, seed: int) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.broker.adapters.journal_writer",
            str(folder),
            crash_at,
            str(ROTATE_AT),
            str(seed),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


def _numbers(writer: subprocess.Popen[str]) -> list[int]:
    assert writer.stdout is not None
    with writer.stdout:
        said = [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    return said


def _check(folder: Path, committed: int) -> None:
    with journal_in(folder) as journal:
        places = places_of(journal, "load")
        assert places == list(range(len(places)))
        assert len(places) >= committed
        for place in places:
            seq_no = (place,) if place else ()
            assert journal.payload("load", seq_no) == content(place)
            answers = journal.answers("ask", [Slice("load", (place,), 0, 1)])
            assert answers == [(0, b"key", 0, f"answer {place}".encode())]


def _copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        (target / name).write_bytes((folder / name).read_bytes())
    (target / "segments").symlink_to(folder / "segments")
    return target

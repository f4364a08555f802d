"""What a user sees of a damaged journal or a full disk: a message that says what and where, and an exact dataset."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distilmq_broker.adapters.repair import repair
from tests.broker.recorded import journal_in
from tests.integration.accounts import Chain, Work, done, living, recorded
from tests.integration.runs import Script, kill_tree, until
from tests.skipping import cannot

HALF = 40
CHAIN = Chain(batches=40, gate_at=HALF)


def test_the_last_record_cut_at_any_byte_is_the_only_one_lost(tmp_path: Path) -> None:
    script = _killed(tmp_path)
    (run_dir,) = script.run_dirs
    (segment,) = (run_dir / "segments").iterdir()
    place, start, end = _last_record(run_dir)
    count = len(script.recorded())

    for size in range(start, end):
        copy = tmp_path / f"cut-{size}"
        shutil.copytree(run_dir, copy)
        os.truncate(copy / "segments" / segment.name, size)
        with journal_in(copy) as journal:
            repaired = repair(journal)

            assert repaired is not None
            assert repaired.damaged == 1
            assert "torn tail" in repaired.damage[0]
            assert dict(repaired.dropped).get(place[0]) == 1
            assert journal.recorded() == count - sum(number for _, number in repaired.dropped)
        shutil.rmtree(copy)


@pytest.mark.parametrize("bytes_left", [0, 1, -1])
def test_a_torn_tail_costs_the_script_that_batch_only(tmp_path: Path, bytes_left: int) -> None:
    script = _killed(tmp_path)
    (run_dir,) = script.run_dirs
    (segment,) = (run_dir / "segments").iterdir()
    place, start, end = _last_record(run_dir)
    before, kept = done(script), recorded(script, CHAIN) - {CHAIN.work[place]}
    os.truncate(segment, (start if bytes_left >= 0 else end) + bytes_left)

    assert script.run() == 0, script.output

    assert script.rows["default"] == CHAIN.expected
    assert done(script) - before == Counter(set(CHAIN.work.values()) - kept)
    (event,) = _log(run_dir, "journal_repaired")
    assert event["dropped"] == [[place[0], 1]]


def test_a_block_of_zeros_after_a_power_loss_costs_what_was_made_of_it(tmp_path: Path) -> None:
    script = _killed(tmp_path)
    (run_dir,) = script.run_dirs
    _zero(run_dir, ("double", "0000000003", 0))
    _lose_power(run_dir)
    before = done(script)
    kept = recorded(script, CHAIN) - _made_of(3)

    assert script.run() == 0, script.output

    assert script.rows["default"] == CHAIN.expected
    assert done(script) - before == Counter(set(CHAIN.work.values()) - kept)
    (event,) = _log(run_dir, "journal_repaired")
    assert "batch 3 of step 'double'" in str(event["damage"])
    assert "a block of zeros" in str(event["damage"])


def test_damage_that_is_met_while_rows_are_read_is_named_and_gone_at_the_next_run(tmp_path: Path) -> None:
    script = CHAIN.script(tmp_path / "run")
    (script.folder / "gate").touch()
    assert script.run() == 0
    (run_dir,) = script.run_dirs
    shutil.rmtree(run_dir / "data")  # else the finished dataset is given back, and nothing is read
    _zero(run_dir, ("add_one", "0000000004", 0))
    before = done(script)

    assert script.run() == 1

    assert "batch 4 of step 'add_one'" in _raised(script)
    assert "Run it again" in _raised(script)
    assert str(run_dir) in _raised(script)
    assert script.run() == 0, script.output
    assert script.rows["default"] == CHAIN.expected
    assert done(script) - before == Counter({("add_one", tuple(range(8, 12))): 1})


def test_a_ledger_that_is_none_is_named(tmp_path: Path) -> None:
    script = _killed(tmp_path)
    (run_dir,) = script.run_dirs
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (run_dir / name).unlink(missing_ok=True)
    (run_dir / "ledger.db").write_bytes(b"no database at all\n" * 300)

    assert script.run() == 1

    assert str(run_dir / "ledger.db") in _raised(script)
    assert "not a database" in _raised(script)


def test_a_full_disk_pauses_the_run_until_there_is_room(tmp_path: Path) -> None:
    script = Chain(batches=40, gate_at=0).script(tmp_path / "run")
    with _small_disk(script.cache, megabytes=4):
        process = script.start()
        until(lambda: any(entry["step"] == "double" for entry in script.worked), "the first batch")
        _fill(script.cache / "filler")
        (script.folder / "gate").touch()
        until(lambda: "paused" in script.output, "the run says that it cannot go on")
        paused = recorded(script, CHAIN)
        (script.cache / "filler").unlink()

        assert process.wait(60) == 0, script.output

        assert script.rows["default"] == CHAIN.expected
        assert len(paused) < len(CHAIN.work)
        assert done(script) == Counter(CHAIN.work.values()), "nothing ran twice"
    (shown,) = [line for line in script.output.splitlines() if "paused" in line]
    assert "No space left on device" in shown or "disk is full" in shown
    assert str(script.cache) in shown


def _killed(folder: Path) -> Script:
    """A script that was killed, with all its processes, when the first half of its batches was recorded."""
    script = CHAIN.script(folder / "run")
    process = script.start()
    half = {work for work in CHAIN.work.values() if work[1][0] < HALF}
    until(lambda: any(work[1][0] >= HALF for work in done(script) if work[0] == "double"), "the gated batch")
    until(lambda: half <= recorded(script, CHAIN), "half of the batches are recorded")
    kill_tree(process.pid)
    process.wait()
    until(lambda: not living(script), "no process outlives the run")
    (script.folder / "gate").touch()
    return script


def _made_of(batch: int) -> set[Work]:
    """A batch of the second step, and what may have been made of it: later ones are cut by what comes before."""
    first = batch // 2 * 2 * CHAIN.size
    later = {work for work in CHAIN.work.values() if work[0] == "add_one" and work[1][0] >= first}
    return {CHAIN.work["double", f"{batch:010d}", 0], *later}


def _last_record(run_dir: Path) -> tuple[tuple[str, str, int], int, int]:
    """The batch that was written last, and where its payload begins and ends."""
    query = "SELECT step, seq_no, part, offset, offset + length FROM batch ORDER BY offset DESC LIMIT 1"
    with _ledger(run_dir) as ledger:
        step, number, part, start, end = ledger.execute(query).fetchone()
    return (step, number, part), start, end


def _zero(run_dir: Path, key: tuple[str, str, int]) -> None:
    with _ledger(run_dir) as ledger:
        query = "SELECT segment, offset, length FROM batch WHERE step = ? AND seq_no = ? AND part = ?"
        segment, offset, length = ledger.execute(query, key).fetchone()
    with (run_dir / "segments" / f"{segment:06d}.seg").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))


def _lose_power(run_dir: Path) -> None:
    """As if the machine had been started anew since."""
    with _ledger(run_dir) as ledger:
        ledger.execute("UPDATE segment SET boot = 'before'")


@contextmanager
def _ledger(run_dir: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(run_dir / "ledger.db")
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def _log(run_dir: Path, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run_dir / "pipeline.log").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def _raised(script: Script) -> str:
    return (script.folder / "raised.txt").read_text()


@contextmanager
def _small_disk(path: Path, *, megabytes: int) -> Iterator[None]:
    """A file system of that size at the path, where this user may mount one."""
    path.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={megabytes}m".encode()
    if libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, options):
        cannot("mounting a small disk", os.strerror(ctypes.get_errno()))
    try:
        yield
    finally:
        libc.umount2(os.fsencode(path), 2)  # 2: when nobody uses it any more


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return

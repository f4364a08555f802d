"""Payloads that did not survive a power loss: their batches, and what was made from them, run again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from distilmq.errors import JournalError
from distilmq_broker.adapters.repair import repair
from tests.broker.recorded import journal_in, places_of, record_chain

STEPS = ("load", "ask", "keep")


def test_an_intact_journal_is_left_alone(tmp_path: Path) -> None:
    _record(tmp_path, batches=3)

    with journal_in(tmp_path) as journal:
        assert repair(journal) is None


def test_intact_segments_of_another_boot_are_looked_through_once(tmp_path: Path) -> None:
    _record(tmp_path, batches=3)
    _restart_the_machine(tmp_path)

    with journal_in(tmp_path) as journal:
        first = repair(journal)
        (boots,) = journal.connection.execute("SELECT group_concat(DISTINCT boot) FROM segment").fetchone()

        assert first is None
        assert boots == journal.boot


def test_a_file_cut_at_any_byte_of_its_last_record_loses_that_record_only(tmp_path: Path) -> None:
    _record(tmp_path, batches=2)
    path = tmp_path / "segments" / "000001.seg"
    whole = path.read_bytes()
    with journal_in(tmp_path) as journal:
        (start,) = journal.connection.execute("SELECT max(offset) FROM batch").fetchone()
        snapshot = journal.connection.serialize()

    for length in range(start, len(whole), 23):
        (tmp_path / "ledger.db").write_bytes(snapshot)
        path.write_bytes(whole[:length])
        with journal_in(tmp_path) as journal:
            repaired = repair(journal)

            assert repaired is not None
            assert repaired.dropped == (("keep", 1),)
            assert "torn tail" in repaired.damage[0]
            assert [places_of(journal, step) for step in STEPS] == [[0, 1], [0, 1], [0]]
            assert journal.recorded() == 5


def test_a_batch_in_a_block_of_zeros_goes_with_all_that_was_made_from_it(tmp_path: Path) -> None:
    _record(tmp_path, batches=6)
    _zero(tmp_path, "ask", 3)
    _restart_the_machine(tmp_path)

    with journal_in(tmp_path) as journal:
        repaired = repair(journal)

        assert repaired is not None
        assert repaired.dropped == (("ask", 1), ("keep", 3))
        assert repaired.damage[0].startswith("batch 3 of step 'ask'")
        assert "a block of zeros" in repaired.damage[0]
        assert places_of(journal, "ask") == [0, 1, 2, 4, 5]
        assert places_of(journal, "keep") == [0, 1, 2]
        assert repair(journal) is None


def test_a_generator_gives_again_everything_behind_what_was_lost(tmp_path: Path) -> None:
    _record(tmp_path, batches=6)
    _zero(tmp_path, "load", 4)
    _restart_the_machine(tmp_path)

    with journal_in(tmp_path) as journal:
        repair(journal)

        assert [places_of(journal, step) for step in STEPS] == [[0, 1, 2, 3]] * 3


def test_a_missing_segment_is_no_obstacle(tmp_path: Path) -> None:
    _record(tmp_path, batches=6)
    (tmp_path / "segments" / "000001.seg").unlink()

    with journal_in(tmp_path) as journal:
        repair(journal)

        assert journal.empty


def test_damage_that_was_met_while_reading_is_repaired_at_the_next_start(tmp_path: Path) -> None:
    _record(tmp_path, batches=3)
    _zero(tmp_path, "keep", 2)

    with journal_in(tmp_path) as journal:
        assert repair(journal) is None
        with pytest.raises(JournalError, match=r"batch 2 of step 'keep': .*block of zeros"):
            journal.payload("keep", (2,))
        journal.doubt()

    with journal_in(tmp_path) as journal:
        repair(journal)
        assert places_of(journal, "keep") == [0, 1]


def _record(folder: Path, *, batches: int) -> None:
    with journal_in(folder) as journal:
        record_chain(journal, batches)


def _restart_the_machine(folder: Path) -> None:
    with sqlite3.connect(folder / "ledger.db") as connection:
        connection.execute("UPDATE segment SET boot = 'before'")
    connection.close()


def _zero(folder: Path, step: str, place: int) -> None:
    with sqlite3.connect(folder / "ledger.db") as connection:
        offset, length = connection.execute(
            "SELECT offset, length FROM batch WHERE step = ? ORDER BY seq_no LIMIT 1 OFFSET ?", (step, place)
        ).fetchone()
    connection.close()
    with (folder / "segments" / "000001.seg").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))

"""Payloads that are written as they come: whole and checked once they are recorded, gone when nobody wants them."""

from __future__ import annotations

import gc
import resource
from pathlib import Path

import pytest

from distilmq.errors import JournalError
from distilmq.protocol.rows import decode_rows, encode_rows
from distilmq_broker.adapters.large_payloads import LargePayload
from distilmq_broker.adapters.repair import repair
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.core.facts import Slice
from tests.broker.recorded import journal_in, payload_of, recorded, rows_of


def write(
    journal: SqliteJournal, counts: list[int], *, step: str = "load"
) -> tuple[LargePayload, list[dict[str, object]]]:
    """A large payload with so many rows in each piece, and its rows."""
    payload = journal.begin_large()
    rows: list[dict[str, object]] = []
    for place, count in enumerate(counts):
        of_piece = rows_of(step, place, count)
        data = encode_rows(of_piece)
        payload.write(data[:7])
        payload.write(data[7:])
        payload.end_piece(count)
        rows += of_piece
    return payload, rows


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "segments").iterdir())


def test_its_rows_are_read_before_and_after_the_commit_and_by_the_next_coordinator(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        payload, rows = write(journal, [3, 1, 4])
        journal.append(recorded("load", 0, rows=8), payload)
        before = decode_rows(journal.payload("load", ()))
        journal.append(recorded("load", 1), payload_of("load", 1))
        journal.commit()
        after = decode_rows(journal.payload("load", ()))

    with journal_in(tmp_path) as journal:
        later = decode_rows(journal.payload("load", ()))
        others = decode_rows(journal.payload("load", (1,)))

    assert before == after == later == rows
    assert others == rows_of("load", 1)


def test_some_of_its_rows_are_read_without_the_others(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        payload, rows = write(journal, [3, 1, 4])
        journal.append(recorded("load", 0, rows=8), payload)
        journal.commit()

        for start in range(9):
            for stop in range(start, 9):
                assert decode_rows(journal.rows([Slice("load", (), start, stop)])) == rows[start:stop]
            pieces = list(journal.pieces("load", (), start))
            assert [row for _, piece in pieces for row in decode_rows(piece)] == rows[start:]
            assert sum(count for count, _ in pieces) == 8 - start
        with pytest.raises(JournalError, match="has 8 rows, not 9"):
            journal.rows([Slice("load", (), 0, 9)])


def test_what_nobody_wants_any_more_leaves_no_file(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        payload, _ = write(journal, [3])
        begun = files(tmp_path)
        del payload
        gc.collect()
        left = files(tmp_path)
        write(journal, [1])[0].abandon()

    assert begun == ["000001.part"]
    assert left == files(tmp_path) == []


def test_what_a_coordinator_that_was_killed_left_unfinished_is_removed(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        payload, _ = write(journal, [3])
        journal.append(recorded("load", 0, rows=3), payload)
        journal.commit()
    (tmp_path / "segments" / "000007.part").write_bytes(b"half")

    with journal_in(tmp_path):
        left = files(tmp_path)

    assert left == ["000001.seg"]


def test_a_full_disk_adds_nothing_and_it_is_tried_again(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        payload, rows = write(journal, [3])
        more = encode_rows(rows_of("load", 1, 2))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)

        # As far as the process can tell, a file that may not grow lies on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (payload.size + 5, before[1]))
        try:
            with pytest.raises(JournalError, match="cannot write"):
                payload.write(more)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        payload.write(more)
        payload.end_piece(2)
        journal.append(recorded("load", 0, rows=5), payload)
        journal.commit()

        assert decode_rows(journal.payload("load", ())) == rows + rows_of("load", 1, 2)


def test_damage_in_one_of_its_pieces_is_found_and_the_batch_runs_again(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        payload, _ = write(journal, [3, 3])
        journal.append(recorded("load", 0, rows=6), payload)
        journal.append(recorded("ask", 0, before="load"), payload_of("ask", 0))
        journal.commit()
    segment = tmp_path / "segments" / "000001.seg"
    data = bytearray(segment.read_bytes())
    data[-10] ^= 1
    segment.write_bytes(data)

    with journal_in(tmp_path) as journal:
        assert len(list(journal.rows([Slice("load", (), 0, 3)])))
        with pytest.raises(JournalError, match="the checksum does not match"):
            journal.payload("load", ())
        journal.doubt()
        repaired = repair(journal)
        left = list(journal.batches("load"))

    assert repaired is not None
    assert dict(repaired.dropped) == {"load": 1, "ask": 1}
    assert left == []


def test_two_are_equal_when_they_hold_the_same(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        one, other, third = write(journal, [3, 1])[0], write(journal, [3, 1])[0], write(journal, [1, 3])[0]

        assert one == other
        assert one != third
        assert one != b"bytes"

"""Rows are read in parts: put together they are what all of them at once would be, wherever they lie."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.errors import JournalError
from distilmq.protocol.messages import ErrorInfo
from distilmq.protocol.rows import decode_rows, encode_rows, join_bodies
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.core.facts import BatchHalved, BatchRecorded, RowsBuried, Slice
from distilmq_broker.ports import BEGINNING
from tests.broker.recorded import journal_in, payload_of, recorded, rows_of

STORED = 4
"""Batches of five rows; the last one was halved, and one of its rows buried."""


def record(journal: SqliteJournal) -> None:
    for place in range(STORED - 1):
        journal.append(recorded("load", place), payload_of("load", place))
    journal.append(BatchHalved("load", (STORED - 1,), 0, (), ()))
    journal.append(BatchRecorded("load", (STORED - 1,), 1, (), (), 4, 4, 1, "w"), payload_of("load", STORED - 1, 4))
    error = ErrorInfo(type="WorkerDied", message="no")
    buried = encode_rows([{"step": None}])
    journal.append(RowsBuried("load", (STORED - 1,), 2, (), (), error), [buried, b""])
    journal.commit()


def parts_of(journal: SqliteJournal, slices: Sequence[Slice], most: int) -> list[bytes]:
    parts: list[bytes] = []
    at = BEGINNING
    while at is not None:
        data, at = journal.part(slices, at, most)
        parts.append(data)
    return parts


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.tuples(st.integers(0, STORED - 1), st.integers(0, 5), st.integers(0, 5)), max_size=6),
    most=st.integers(1, 3000),
)
def test_parts_put_together_are_all_rows(cuts: list[tuple[int, int, int]], most: int) -> None:
    slices = [Slice("load", (place,) if place else (), min(one, other), max(one, other)) for place, one, other in cuts]
    with tempfile.TemporaryDirectory() as folder, journal_in(Path(folder), rotate_at=1000) as journal:
        record(journal)
        whole = journal.rows(slices)

        parts = parts_of(journal, slices, most)

    rows = sum(part.stop - part.start for part in slices)
    assert join_bodies(rows, parts) == whole
    assert all(len(part) <= most for part in parts)
    assert all(len(part) == most for part in parts[:-1]), "none is smaller than it need be"


def test_a_part_that_is_asked_for_again_is_the_same(tmp_path: Path) -> None:
    slices = [Slice("load", (), 0, 5), Slice("load", (1,), 1, 4)]
    with journal_in(tmp_path) as journal:
        record(journal)
        first, behind = journal.part(slices, BEGINNING, 100)
        assert behind is not None
        second, _ = journal.part(slices, behind, 100)

        again = [journal.part(slices, behind, 100)[0], journal.part(slices, BEGINNING, 100)[0]]

    assert again == [second, first]


@pytest.mark.parametrize(
    "place",
    [(-1, 0, 0), (3, 0, 0), (0, -1, 0), (0, 2, 0), (0, 0, -1), (0, 0, 10_000), (2, 0, 1), (2, 1, 0)],
)
def test_a_place_that_is_none_is_refused(tmp_path: Path, place: tuple[int, int, int]) -> None:
    with journal_in(tmp_path) as journal:
        record(journal)
        with pytest.raises(ValueError, match="no "):
            journal.part([Slice("load", (), 0, 5), Slice("load", (1,), 0, 5)], place, 100)


def test_damage_is_found_in_a_part_as_well(tmp_path: Path) -> None:
    slices = [Slice("load", (1,), 0, 5)]
    with journal_in(tmp_path) as journal:
        record(journal)
    [segment] = (tmp_path / "segments").iterdir()
    segment.write_bytes(segment.read_bytes().replace(b"xxxx", b"xxyx"))

    with journal_in(tmp_path) as journal, pytest.raises(JournalError, match="the checksum does not match"):
        journal.part(slices, BEGINNING, 100)


def test_the_size_is_told_without_reading(tmp_path: Path) -> None:
    whole = Slice("load", (1,), 0, 5)
    with journal_in(tmp_path) as journal:
        record(journal)

        assert journal.size([whole, whole]) == 2 * len(payload_of("load", 1))
        assert journal.size([Slice("load", (1,), 1, 2)]) == len(payload_of("load", 1)) // 5
        assert journal.size([]) == 0
        assert decode_rows(journal.rows([whole])) == rows_of("load", 1)

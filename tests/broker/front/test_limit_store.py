"""What was learnt of accounts' limits lies in a file, which is advice: a broken one is done without."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from distilmq_broker.core.facts import LimitLearnt
from distilmq_broker.front.limit_store import LimitStore
from distilmq_broker.logbook import Logbook

ONE = LimitLearnt(b"\x00one", 12.0, None, settled=True)
TWO = LimitLearnt(b"two", None, 600.0, settled=False)


@pytest.fixture
def log() -> io.BytesIO:
    """What is logged."""
    return io.BytesIO()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the file."""
    return tmp_path / "limits.json"


def kept(path: Path, log: io.BytesIO) -> list[LimitLearnt]:
    return LimitStore(path, Logbook(log)).load()


def test_what_is_kept_is_read_by_the_next(path: Path, log: io.BytesIO) -> None:
    store = LimitStore(path, Logbook(log))
    nothing = store.load()
    store.save(ONE)
    store.save(TWO)
    again = LimitStore(path, Logbook(log))
    again.load()
    later = LimitLearnt(ONE.account, 8.0, 300.0, settled=True)
    again.save(later)

    assert nothing == []
    assert kept(path, log) == [TWO, later]
    assert log.getvalue() == b""


def test_of_very_many_accounts_the_last_are_kept(path: Path, log: io.BytesIO) -> None:
    store = LimitStore(path, Logbook(log), most=2)
    for account in (b"1", b"2", b"3", b"2"):
        store.save(LimitLearnt(account, 5.0, None, settled=True))

    assert [fact.account for fact in kept(path, log)] == [b"3", b"2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        '{"limits": [{"account": "zz"}]}',
        '{"limits": [{"account": "00", "places": 0}]}',
        '{"limits": [{"account": "00", "places": "many"}]}',
        '{"limits": [{"account": "00", "requests": NaN}]}',
    ],
)
def test_a_file_that_cannot_be_read_is_done_without(path: Path, log: io.BytesIO, text: str) -> None:
    path.write_text(text)
    store = LimitStore(path, Logbook(log))

    assert store.load() == []
    store.save(ONE)
    assert kept(path, log) == [ONE]
    assert b"limits_unreadable" in log.getvalue()


def test_what_cannot_be_written_holds_nothing_up(path: Path, log: io.BytesIO) -> None:
    path.with_suffix(".draft").mkdir()
    store = LimitStore(path, Logbook(log))
    store.save(ONE)
    path.with_suffix(".draft").rmdir()
    store.save(TWO)

    assert kept(path, log) == [ONE, TWO]
    assert b"limits_not_saved" in log.getvalue()

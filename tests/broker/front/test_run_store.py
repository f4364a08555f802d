"""The records of runs on disk: whole or not at all, and tried again where the disk does not take them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from distilmq.errors import JournalError
from distilmq.protocol.messages import Progress
from distilmq_broker.front.core.records import RunRecord
from distilmq_broker.front.run_store import RunStore
from distilmq_broker.logbook import Logbook
from distilmq_broker.run_folder import RunFolder
from tests.broker.serving import chain

RECORD = RunRecord(run="run-1", pipeline="test", submitted=1.0)
STOPPED = RECORD.model_copy(update={"state": "stopped"})


@pytest.fixture
def log() -> io.BytesIO:
    """What is logged."""
    return io.BytesIO()


@pytest.fixture
def store(tmp_path: Path, log: io.BytesIO) -> RunStore:
    """A store below a folder, with one run."""
    made = RunStore(tmp_path, Logbook(log))
    made.add(RECORD, chain("load"))
    return made


def test_what_is_kept_is_read_by_the_next(store: RunStore, tmp_path: Path) -> None:
    store.save(STOPPED)

    assert RunStore(tmp_path, Logbook(None)).load() == [STOPPED]
    assert RunFolder(tmp_path / "run-1").stored_plan() == chain("load")


def test_what_cannot_be_written_is_written_as_soon_as_it_can(store: RunStore, tmp_path: Path, log: io.BytesIO) -> None:
    in_the_way = tmp_path / "run-1" / "run.draft"
    in_the_way.mkdir()
    store.save(STOPPED)
    before = store.load()
    in_the_way.rmdir()
    store.flush()

    assert before == [RECORD]
    assert store.load() == [STOPPED]
    assert b"run_not_saved" in log.getvalue()


def test_a_run_that_cannot_be_kept_is_not_taken(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "run-2" / "run.draft").mkdir(parents=True)

    with pytest.raises(JournalError, match=r"cannot write .*run-2/run.json"):
        store.add(RunRecord(run="run-2"), chain("load"))


def test_a_record_that_is_none_is_left_alone_and_said_to_be(store: RunStore, tmp_path: Path, log: io.BytesIO) -> None:
    (tmp_path / "run-2").mkdir()
    (tmp_path / "run-2" / "run.json").write_text("{")

    assert store.load() == [RECORD]
    assert b"run-2" in log.getvalue()
    assert (tmp_path / "run-2" / "run.json").exists()


def test_how_far_a_run_came_is_kept_beside_it(store: RunStore) -> None:
    progress = Progress(run="run-1", state="done")
    nothing = store.progress("run-1")
    store.save_progress(progress)

    assert (nothing, store.progress("run-1")) == (None, progress)


def test_a_run_that_is_removed_leaves_nothing(store: RunStore, tmp_path: Path) -> None:
    store.remove("run-1")

    assert store.load() == []
    assert not (tmp_path / "run-1").exists()

"""What a run that revises another one begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilmq.errors import JournalError
from distilmq.protocol.failure_filter import FailureFilter
from distilmq_broker.front import revising
from distilmq_broker.front.core.records import RunRecord
from distilmq_broker.run_folder import RunFolder
from tests.broker.serving import chain


@pytest.fixture
def source(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "first")
    folder.make()
    folder.store_plan(chain("load"))
    return folder


def test_data_and_artifacts_are_there_and_what_had_not_come_whole_is_not(source: RunFolder, tmp_path: Path) -> None:
    source.data.mkdir()
    (source.data / "digest").write_bytes(b"rows")
    (source.artifacts / "rank").mkdir(parents=True)
    (source.artifacts / "rank" / "order.txt").write_text("1 2")
    (source.artifacts / "rank" / "next.txt-0a.partial").write_text("1")
    target = RunFolder(tmp_path / "second")
    target.make()
    (target.artifacts / "of a start that was not finished").mkdir(parents=True)

    revising.take_along(source, target)

    files = sorted(path.relative_to(target.path).as_posix() for path in target.path.rglob("*") if path.is_file())
    assert files == ["artifacts/rank/order.txt", "data/digest"]
    assert (target.data / "digest").samefile(source.data / "digest"), "it takes no room twice"
    assert not (target.artifacts / "of a start that was not finished").exists()


def test_a_file_that_is_replaced_in_the_revision_stays_in_the_first_run(source: RunFolder, tmp_path: Path) -> None:
    (source.artifacts / "rank").mkdir(parents=True)
    (source.artifacts / "rank" / "order.txt").write_text("first")
    target = RunFolder(tmp_path / "second")
    target.make()
    revising.take_along(source, target)
    draft = target.artifacts / "rank" / "draft"
    draft.write_text("second")

    draft.replace(target.artifacts / "rank" / "order.txt")

    assert (source.artifacts / "rank" / "order.txt").read_text() == "first"


def test_its_plan_names_what_it_revises_and_is_else_the_same(source: RunFolder) -> None:
    only = FailureFilter(steps=("load",))

    plan = revising.plan_of(source, only)

    before = source.stored_plan()
    assert before is not None
    assert plan.settings.revises is not None
    assert (plan.settings.revises.of, plan.settings.revises.only) == (str(source.path), only)
    assert plan.model_copy(update={"settings": before.settings}) == before


def test_without_the_plan_there_is_no_revision(source: RunFolder) -> None:
    source.plan_file.unlink()

    with pytest.raises(JournalError, match="is gone"):
        revising.plan_of(source, FailureFilter())


def test_nobody_who_submits_the_pipeline_again_is_led_to_it() -> None:
    before = RunRecord(
        run="r", pipeline="p", key="p/1", submitted=1.0, ended=2.0, state="failed", reason="why", weight=3.0
    )

    key = revising.key_of("r", FailureFilter())

    record = revising.record_of(before, "r-2", key, 5.0)

    assert (record.run, record.key, record.submitted, record.ended) == ("r-2", key, 5.0, None)
    assert key not in {
        before.key,
        revising.key_of("r", FailureFilter(steps=("ask",))),
        revising.key_of("q", FailureFilter()),
    }
    assert (record.pipeline, record.weight, record.state, record.reason) == ("p", 3.0, "running", "")

"""A revision has everything of its run but the failed rows and what was made from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from distilmq.protocol.failure_filter import FailureFilter
from distilmq.protocol.messages import ErrorInfo, RowFailure
from distilmq.protocol.plan import Plan, Revision, RunSettings
from distilmq.protocol.rows import decode_row, encode_row, encode_rows
from distilmq.protocol.seq_no import number
from distilmq.protocol.usage import Usage
from distilmq_broker.adapters.sqlite_journal import SqliteJournal
from distilmq_broker.adapters.system_clock import SystemClock
from distilmq_broker.adoption import Adoption
from distilmq_broker.core.facts import (
    BatchHalved,
    BatchRecorded,
    LimitLearnt,
    RouteRecorded,
    RowsBuried,
    Slice,
    UsageRecorded,
)
from distilmq_broker.logbook import open_logbook
from distilmq_broker.run_folder import RunFolder
from tests.broker.recorded import STEPS, payload_of, places_of, record_chain, recorded, rows_of

ERROR = ErrorInfo(type="ValueError", message="no")


@contextmanager
def opened(root: Path, name: str, revision: Revision | None = None) -> Iterator[SqliteJournal]:
    """The journal of a run in a cache of the test, prepared for the plan."""
    folder = RunFolder(root / "cache" / "test" / name)
    folder.make()
    plan = Plan(pipeline="test", steps=STEPS, settings=RunSettings(revises=revision))
    with (
        closing(open_logbook(folder.log_file)) as log,
        closing(SqliteJournal(folder.path, clock=SystemClock())) as journal,
    ):
        Adoption(journal, cache_dir=root / "cache", log=log).prepare(plan)
        folder.store_plan(plan)
        yield journal


def revised(root: Path, of: str = "first", name: str = "second", **only: Any) -> Any:
    """The journal of a revision."""
    folder = root / "cache" / "test" / of
    return opened(root, name, Revision(of=str(folder), only=FailureFilter(**only)))


def failure(row: int, kind: str = "ValueError", **more: Any) -> RowFailure:
    return RowFailure(row=row, error=ERROR.model_copy(update={"type": kind}), input=b"\x80", **more)


def chain_with(journal: SqliteJournal, place: int, *failures: RowFailure, **more: Any) -> None:
    """A chain of three batches of which one has failed rows in the step `ask`."""
    record_chain(journal, place)
    for each in range(place, 3):
        journal.append(recorded("load", each), payload_of("load", each))
        failed = failures if each == place else ()
        journal.append(recorded("ask", each, before="load", failures=failed, **more), payload_of("ask", each))
        journal.append(recorded("keep", each, before="ask"), payload_of("keep", each))
    journal.commit()


def kept(journal: SqliteJournal, step: str, before: str, place: int) -> dict[int, list[dict[str, Any]]]:
    """What is kept for the rows of a batch that takes a whole one of the step before."""
    if place not in places_of(journal, before):
        journal.append(recorded(before, place), payload_of(before, place))
    found = journal.kept(step, [(Slice(before, number(place), 0, 5),)])
    return {row: [decode_row(data) for data in rows] for row, rows, _ in found}


def test_batches_without_failed_rows_stay(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(3))

    with revised(tmp_path) as second:
        found = [places_of(second, step.name) for step in STEPS]
        letters = list(second.failures())

    assert found == [[0, 1, 2], [0, 2], [0, 2]]
    assert letters == []


def test_what_it_cost_and_what_was_learnt_of_accounts_stays(tmp_path: Path) -> None:
    spent = UsageRecorded("ask", "w1", Usage(model="m", requests=3, input_tokens=30, output_tokens=6, cost=0.5))
    learnt = LimitLearnt(b"account", 22.0, 600.0, settled=True)
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(3))
        first.append(spent)
        first.append(learnt)

    with revised(tmp_path) as second:
        facts = list(second.facts())

    assert [fact for fact in facts if isinstance(fact, (UsageRecorded, LimitLearnt))] == [spent, learnt]


def test_the_other_rows_of_a_batch_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(3))

    with revised(tmp_path) as second:
        ask, keep = kept(second, "ask", "load", 1), kept(second, "keep", "ask", 1)
        others = kept(second, "ask", "load", 0)

    assert ask == {row: [rows_of("ask", 1)[row]] for row in (0, 1, 2, 4)}
    assert keep == {row: [rows_of("keep", 1)[row]] for row in range(5)}, "found by rows that are the same"
    assert others == {}


def test_a_row_that_has_changed_is_not_found_and_one_that_moved_is(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(3))
    changed = [{"new": True}, *rows_of("ask", 1)[:3]]

    with revised(tmp_path) as second:
        second.append(recorded("ask", 1, before="load", rows=4), encode_rows(changed))
        found = second.kept("keep", [(Slice("ask", (1,), 0, 4),)])

    assert [(place, decode_row(rows[0])) for place, rows, _ in found] == [
        (place, rows_of("keep", 1)[place - 1]) for place in (1, 2, 3)
    ]


def test_a_failed_row_that_is_not_meant_is_kept_with_its_failure(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(2, "KeyError"), failure(3))

    with revised(tmp_path, errors=("valueerror",)) as second:
        found = second.kept("ask", [(Slice("load", (1,), 0, 5),)])

    assert [place for place, _, _ in found] == [0, 1, 2, 4]
    assert [(place, told["error"]["type"]) for place, _, told in found if told is not None] == [(2, "KeyError")]


def test_of_rows_that_gave_several_each_is_kept_with_its_own(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        record_chain(first, 1)
        fact = recorded("ask", 1, before="load", rows=6, failures=(failure(2),), counts=(1, 2, 1, 0, 2))
        first.append(recorded("load", 1), payload_of("load", 1))
        first.append(fact, payload_of("ask", 1, 6))

    with revised(tmp_path) as second:
        ask = kept(second, "ask", "load", 1)

    rows = rows_of("ask", 1, 6)
    assert ask == {0: rows[:1], 1: rows[1:3], 3: [], 4: rows[4:]}


def test_where_it_is_not_known_which_rows_came_for_which_nothing_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 2, failure(0, out=True))
        first.append(recorded("load", 3), payload_of("load", 3))
        first.append(recorded("ask", 3, before="load", rows=4, failures=(failure(2),)), payload_of("ask", 3, 4))

    with revised(tmp_path) as second:
        assert kept(second, "ask", "load", 2) == kept(second, "ask", "load", 3) == {}
        assert places_of(second, "ask") == [0, 1]


def test_of_a_batch_in_parts_the_parts_are_kept(tmp_path: Path) -> None:
    def inputs(start: int, stop: int) -> tuple[tuple[Slice, ...], ...]:
        return ((Slice("load", (1,), start, stop),),)

    with opened(tmp_path, "first") as first:
        record_chain(first, 1)
        first.append(recorded("load", 1), payload_of("load", 1))
        first.append(BatchHalved("ask", (1,), 0, inputs(0, 2), ()))
        good = BatchRecorded("ask", (1,), 1, inputs(0, 1), (), 1, 1, 1, "w")
        first.append(good, encode_rows([{"good": 1}]))
        buried = RowsBuried("ask", (1,), 2, inputs(1, 2), (), ERROR)
        first.append(buried, [encode_rows([{"good": None}]), encode_row({"n": 1})])

    with revised(tmp_path) as second:
        found = kept(second, "ask", "load", 1)
        assert places_of(second, "ask") == [0]

    assert found == {0: [{"good": 1}]}


def test_of_a_large_batch_the_rows_of_every_piece_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        record_chain(first, 1)
        first.append(recorded("load", 1), payload_of("load", 1))
        large = first.begin_large()
        rows = rows_of("ask", 1)
        for start, stop in ((0, 2), (2, 3), (3, 5)):
            large.write(encode_rows(rows[start:stop]))
            large.end_piece(stop - start)
        first.append(recorded("ask", 1, before="load", failures=(failure(3),)), large)
        first.commit()

    with revised(tmp_path) as second:
        found = kept(second, "ask", "load", 1)

    assert found == {0: rows[:1], 1: rows[1:2], 2: rows[2:3], 4: rows[4:]}


def test_the_choice_of_a_routing_function_stays(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(3))
        first.append(RouteRecorded("ask", (1,), ("keep",)))

    with revised(tmp_path) as second:
        again = [fact for fact in second.facts() if getattr(fact, "seq_no", None) == (1,)]
        assert RouteRecorded("ask", (1,), ("keep",)) in again
        second.append(recorded("ask", 1, before="load"), payload_of("ask", 1))
        second.commit()
        assert RouteRecorded("ask", (1,), ("keep",)) in list(second.facts())


def test_a_revision_that_was_not_finished_is_revised_with_what_it_kept(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(2, "KeyError"), failure(3))
    with revised(tmp_path, errors=("ValueError",)):
        pass

    with revised(tmp_path, of="second", name="third") as third:
        assert sorted(kept(third, "ask", "load", 1)) == [0, 1, 4]


def test_what_was_kept_goes_when_the_run_is_done(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(3))
    with revised(tmp_path) as second:
        second.note_outcome("done")

    with opened(tmp_path, "second") as again:
        assert kept(again, "ask", "load", 1) == {}


def test_a_revision_that_goes_on_takes_nothing_over_again(tmp_path: Path) -> None:
    with opened(tmp_path, "first") as first:
        chain_with(first, 1, failure(3))
    with revised(tmp_path) as second:
        second.append(recorded("ask", 1, before="load"), payload_of("ask", 1))

    with revised(tmp_path) as again:
        assert places_of(again, "ask") == [0, 1, 2]
        assert again.recorded() == 8

"""Generators: one running iteration each, whose batches are only what they say if none is missing."""

from __future__ import annotations

from distilmq.protocol.messages import Ack, Cancel
from distilmq_broker.core.commands import Command, EndRun, KillWorker
from distilmq_broker.core.events import BatchDone
from distilmq_broker.core.facts import BatchRecorded, Slice
from tests.broker.core.scene import Scene, batches, generator, messages, only, plan_of, records, step


def numbers(orders):
    return [(order.lease.seq_no, order.offset) for order in orders]


def test_a_generator_is_asked_for_one_batch_more_than_it_works_at() -> None:
    scene = Scene(plan_of(generator()))

    first = batches(scene.staff())
    second = batches(scene.done(first[0], 10))

    assert numbers(first) == [((), 0), ((1,), 0)]
    assert numbers(second) == [((2,), 10)]


def test_a_generator_that_says_last_is_finished_and_what_was_asked_ahead_is_cancelled() -> None:
    scene = Scene(plan_of(generator()))
    first, ahead = batches(scene.staff())

    followed = scene.done(first, 7, last=True)

    assert scene.core.outcome == "done"
    assert messages(followed, Cancel) == [(first.session, Cancel(lease=ahead.lease))]
    assert only(records(followed, BatchRecorded)).last


def test_a_generator_ends_at_its_most_batches() -> None:
    scene = Scene(plan_of(generator(max_batches=1)))
    orders = batches(scene.staff())

    scene.done(only(orders), 10)

    assert scene.core.outcome == "done"


def test_an_empty_generator_ends_cleanly() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, _ = batches(scene.staff())

    scene.done(first, 0, last=True)

    assert scene.core.outcome == "done"


def test_a_batch_without_rows_is_no_end() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, _ = batches(scene.staff())

    followed = scene.done(first, 0)

    assert numbers(batches(followed)) == [((2,), 0)]


def test_a_result_that_came_before_its_forerunner_waits_for_it() -> None:
    scene = Scene(plan_of(generator()))
    first, second = batches(scene.staff())

    early = scene.done(second, 10)
    followed = scene.done(first, 10)

    assert early == []
    assert [fact.seq_no for fact in records(followed, BatchRecorded)] == [(), (1,)]
    assert [ack.lease.seq_no for _, ack in messages(followed, Ack)] == [(), (1,)]


def test_a_swallowed_request_restarts_the_generator_where_the_records_end() -> None:
    scene = Scene(plan_of(generator()))
    first, second = batches(scene.staff())
    third = only(batches(scene.done(first, 10)))
    scene.done(third, 10)  # these are the rows of batch 1: its request was lost on the way

    scene.beat(first.session, third.lease)
    followed = scene.beat(first.session, third.lease)
    again = batches(scene.load(scene.join()))

    assert only([each for each in followed if isinstance(each, KillWorker)]).session == first.session
    assert second.lease.seq_no == (1,)
    assert numbers(again) == [((1,), 10), ((2,), 10)]


def test_a_dead_generator_is_started_again_behind_its_recorded_rows() -> None:
    scene = Scene(plan_of(generator()))
    first, _ = batches(scene.staff())
    scene.done(first, 10)

    scene.dies(first.session)
    again = batches(scene.load(scene.join()))

    assert numbers(again) == [((1,), 10), ((2,), 10)]


def lives_and_dies(scene: Scene, *payloads: list[str]) -> list[Command]:
    """A process of the generator gives these batches and dies of the next."""
    todo = batches(scene.load(scene.join()))
    for payload in payloads:
        order = todo.pop(0)
        todo += batches(scene.tell(BatchDone(order.session, order.lease, len(payload), payload)))
    return scene.dies(todo[0].session)


def test_a_generator_that_dies_and_begins_anew_each_time_ends_the_run_the_third_time() -> None:
    scene = Scene(plan_of(generator()))

    first = lives_and_dies(scene, ["a", "b"], ["c"])
    second = lives_and_dies(scene, [], ["a", "b"], ["c"])
    third = lives_and_dies(scene, [], ["a", "b"], ["c"])

    assert [any(isinstance(each, EndRun) for each in life) for life in (first, second, third)] == [False, False, True]
    end = only([each for each in third if isinstance(each, EndRun)])
    assert "has to go on behind the first `offset` rows" in end.error.message
    assert "9 rows are recorded" in end.error.message


def test_a_generator_that_dies_again_and_again_may_come_to_its_end() -> None:
    scene = Scene(plan_of(generator()))

    for place in range(10):
        lives_and_dies(scene, [f"row {place}"])

    assert scene.core.outcome is None


def test_the_last_word_of_a_dead_generator_counts_if_nobody_was_asked_since() -> None:
    scene = Scene(plan_of(generator()))
    first, _ = batches(scene.staff())
    scene.dies(first.session)

    late = scene.done(first, 10)
    again = batches(scene.load(scene.join()))

    assert [fact.seq_no for fact in records(late, BatchRecorded)] == [()]
    assert numbers(again) == [((1,), 10), ((2,), 10)]


def test_the_last_word_of_a_dead_generator_is_passed_over_once_another_was_asked() -> None:
    scene = Scene(plan_of(generator()))
    first, _ = batches(scene.staff())
    scene.dies(first.session)
    scene.load(scene.join())

    assert records(scene.done(first, 10)) == []


def test_a_generator_that_outlived_a_restart_goes_on_if_it_stands_where_the_records_end() -> None:
    before = Scene(plan_of(generator()))
    first, second = batches(before.staff())
    third = only(batches(before.done(first, 10)))
    scene = Scene(before.core.run.plan, facts=before.facts)

    joined = scene.join(step="load", ready=True, held=(second.lease, third.lease))
    done = scene.tell(BatchDone("s1", second.lease, 10, []))

    assert batches(joined) == []
    assert numbers(batches(done)) == [((3,), 20)]


def test_a_generator_that_missed_a_request_before_a_restart_starts_again() -> None:
    before = Scene(plan_of(generator()))
    first, _ = batches(before.staff())
    third = only(batches(before.done(first, 10)))
    scene = Scene(before.core.run.plan, facts=before.facts)

    joined = scene.join(step="load", ready=True, held=(third.lease,))

    assert only([each for each in joined if isinstance(each, KillWorker)]).session == "s1"


def test_a_batch_that_was_not_asked_for_is_passed_over() -> None:
    scene = Scene(plan_of(generator()))
    first, second = batches(scene.staff())

    strange = scene.tell(BatchDone(first.session, second.lease.model_copy(update={"seq_no": (2,)}), 10, []))
    scene.done(first)
    followed = scene.done(second)

    assert strange == []
    assert [fact.seq_no for fact in records(followed, BatchRecorded)] == [(1,)]


def test_who_may_have_to_begin_is_told_the_first_row() -> None:
    scene = Scene(plan_of(generator(size=10)))
    first, second = batches(scene.staff())
    scene.done(first, 0)
    third = only(batches(scene.done(second)))

    scene.dies(third.session)
    began, behind, *_ = batches(scene.load(scene.join()))

    assert (first.first, second.first, third.first) == ((), (), ())
    assert (began.offset, began.first) == (10, (Slice("load", (1,), 0, 1),))
    assert behind.first == ()

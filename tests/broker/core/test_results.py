"""What happens to a result, and in which order."""

from __future__ import annotations

from distilmq.protocol.messages import Ack, Cancel, ErrorInfo, Lease, RowFailure, Who
from distilmq_broker.core.commands import Record, Route, Send, SendBatch
from distilmq_broker.core.events import AnswerCame, BatchDone, CommitFailed, Committed, Routed
from distilmq_broker.core.facts import AnswerRecorded, BatchRecorded, RouteRecorded
from tests.broker.core.scene import Scene, batches, generator, messages, only, plan_of, records, step


def test_nothing_leaves_before_the_commit_of_what_it_follows_from() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), held_commits=True)
    first, second = batches(scene.staff())

    before = scene.done(first) + scene.done(second)
    after = scene.commit()

    assert [type(command) for command in before] == [Record, Record]
    assert [type(command) for command in after[:3]] == [Send, SendBatch, SendBatch]
    assert [lease.lease.seq_no for _, lease in messages(after, Ack)] == [(), (1,)]


def test_a_late_commit_releases_only_what_it_covers() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), held_commits=True)
    first, second = batches(scene.staff())
    ticket = scene.done(first)[0].ticket
    scene.done(second)

    released = scene.tell(Committed(ticket))

    assert [ack.lease.seq_no for _, ack in messages(released, Ack)] == [()]


def test_the_first_valid_result_counts_whoever_sends_it() -> None:
    scene = Scene(plan_of(generator(), step("a", "load", replicas=2)))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "a"))

    followed = scene.tell(BatchDone("a stranger", work.lease, 10, []))

    assert only(records(followed, BatchRecorded)).worker == "a stranger"
    assert messages(followed, Ack) == [("a stranger", Ack(lease=work.lease))]
    assert messages(followed, Cancel) == [(work.session, Cancel(lease=work.lease))]
    assert messages(followed, Who) == [("a stranger", Who())]


def test_a_result_of_an_older_attempt_counts_too() -> None:
    scene = Scene(plan_of(generator(), step("a", "load", replicas=2)))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "a"))
    again = only(batches(scene.dies(work.session), "a"))

    followed = scene.tell(BatchDone(work.session, work.lease, 10, []))

    assert again.lease.attempt == 2
    assert only(records(followed, BatchRecorded)).seq_no == ()
    assert messages(followed, Cancel) == [(again.session, Cancel(lease=again.lease))]


def test_a_result_of_a_recorded_batch_is_only_acknowledged() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "a"))
    scene.done(work)

    followed = scene.done(work)

    assert followed == [Send(work.session, Ack(lease=work.lease))]


def test_a_full_disk_pauses_the_run_until_a_commit_succeeds() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), held_commits=True)
    first, second = batches(scene.staff())
    scene.done(first)

    failed = scene.tell(CommitFailed("disk full"))
    meanwhile = scene.done(second)
    paused = scene.core.progress(scene.now)
    released = scene.commit()

    assert failed == []
    assert [type(command) for command in meanwhile] == [Record]
    assert (paused.state, paused.reason) == ("paused", "disk full")
    assert len(messages(released, Ack)) == 2
    assert batches(released, "a")


def test_a_batch_is_recorded_and_acknowledged_before_it_is_routed() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), step("b", "load"), routed=["load"]))
    load, *_ = batches(scene.staff())

    followed = scene.done(load)

    kinds = [type(command) for command in followed]
    assert kinds.index(Record) < kinds.index(Send) < kinds.index(Route)
    assert not batches(followed, "a")


def test_a_choice_is_recorded_before_the_batch_is_sent_and_only_to_the_chosen() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), step("b", "load"), routed=["load"]), held_commits=True)
    load, *_ = batches(scene.staff())
    scene.done(load)
    scene.commit()

    routed = scene.tell(Routed("load", (), ("b",)))
    committed = scene.commit()

    assert records(routed) == [RouteRecorded("load", (), ("b",))]
    assert [order.lease.step for order in batches(committed)] == ["b"]


def test_an_empty_choice_sends_the_batch_nowhere_and_is_counted() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), step("b", "load"), routed=["load"]))
    load, *_ = batches(scene.staff())
    scene.done(load)

    followed = scene.tell(Routed("load", (), ()))

    assert records(followed) == [RouteRecorded("load", (), ())]
    assert batches(followed, "a") == batches(followed, "b") == []
    assert "1 batch(es) routed to no step" in scene.core.progress(0.0).steps[0].note


def test_a_second_choice_for_a_batch_is_passed_over() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), step("b", "load"), routed=["load"]))
    load, *_ = batches(scene.staff())
    scene.done(load)
    scene.tell(Routed("load", (), ("a",)))

    assert scene.tell(Routed("load", (), ("b",))) == []


def test_an_answer_is_recorded_under_the_row_it_belongs_to() -> None:
    scene = Scene(plan_of(generator(size=4), step("a", "load", size=6)))
    first, second = batches(scene.staff())
    scene.done(first, 4)
    work = only(batches(scene.done(second, 4), "a"))

    followed = scene.tell(AnswerCame(work.session, work.lease, 5, b"key", 0, b"answer"))

    assert records(followed) == [AnswerRecorded("a", (1,), 1, b"key", 0)]


def test_an_answer_for_a_recorded_batch_or_a_row_it_does_not_have_is_passed_over() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "a"))

    beyond = scene.tell(AnswerCame(work.session, work.lease, 99, b"key", 0, b"answer"))
    scene.done(work)
    late = scene.tell(AnswerCame(work.session, work.lease, 0, b"key", 0, b"answer"))

    assert beyond == late == []


def test_failed_rows_are_counted_and_recorded_with_their_batch() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "a"))
    failure = RowFailure(row=3, error=ErrorInfo(type="ValueError", message="no"))

    followed = scene.done(work, failures=(failure,))

    assert only(records(followed, BatchRecorded)).failures == (failure,)
    assert scene.core.progress(0.0).steps[1].failed_rows == 1


def test_a_lease_of_an_unknown_step_or_batch_does_no_harm() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.staff()

    for lease in (
        Lease(step="nobody", seq_no=(1,)),
        Lease(step="a", seq_no=(-1, 3), part=77),
        Lease(step="a", seq_no=()),
    ):
        assert records(scene.tell(BatchDone(scene.of("a"), lease, 10, []))) == []
    assert records(scene.tell(BatchDone(scene.of("a"), Lease(step="load", seq_no=(1, 2)), -5, []))) == []

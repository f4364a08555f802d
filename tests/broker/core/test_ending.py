"""How a run ends: done, stopped, killed, failed."""

from __future__ import annotations

from distilmq.protocol.messages import Ack, Drain, ErrorInfo, Stop
from distilmq_broker.core.commands import EndRun, KeepSlots
from distilmq_broker.core.events import (
    AnswerCame,
    BatchFailed,
    BatchReturned,
    CommitFailed,
    DeadlineReached,
    KillRequested,
    RouteFailed,
    StopRequested,
)
from distilmq_broker.core.facts import AnswerRecorded, BatchRecorded
from tests.broker.core.scene import Scene, batches, generator, global_step, messages, only, plan_of, records, step

ERROR = ErrorInfo(type="ValueError", message="no")


def ended(commands):
    return [each.outcome for each in commands if isinstance(each, EndRun)]


def test_when_all_is_recorded_slots_are_given_up_workers_leave_and_the_run_is_done() -> None:
    scene = Scene(plan_of(generator(max_batches=1), step("a", "load")))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "a"))

    followed = scene.done(work)

    assert [type(each).__name__ for each in followed] == ["Record", "Send", "KeepSlots", "Send", "Send", "EndRun"]
    assert KeepSlots(0) in followed
    assert ended(followed) == ["done"]
    assert scene.core.outcome == "done"


def test_a_stop_drains_and_hands_out_nothing_more() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, _second = batches(scene.staff())

    stopped = scene.tell(StopRequested(120.0))
    followed = scene.done(first)

    assert messages(stopped, Drain) == [("s1", Drain(timeout=120.0)), ("s2", Drain(timeout=120.0))]
    assert ended(stopped) == ended(followed) == []
    assert batches(followed) == []
    assert records(followed, BatchRecorded)
    assert scene.core.progress(1.0).state == "draining"
    assert scene.core.progress(1.0).waiting_for == 1


def test_a_draining_run_ends_when_nothing_is_out() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, second = batches(scene.staff())
    work = only(batches(scene.done(first), "a"))
    scene.tell(StopRequested(120.0))
    scene.tell(BatchReturned(work.session, work.lease))
    third = next(iter(scene.core.run.workers.sessions["s1"].held.values()))
    scene.done(second)

    followed = scene.tell(
        BatchReturned("s1", scene.core.run.lease(scene.core.run.flow.steps[0].leases.pending[(2,), 0]))
    )

    assert third is not None
    assert ended(followed) == ["stopped"]
    assert messages(followed, Stop) == [("s1", Stop()), ("s2", Stop())]


def test_a_draining_run_ends_when_its_time_is_over() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), liveness=1000.0))
    scene.staff()
    scene.tell(StopRequested(5.0))

    deadline = scene.core.next_deadline()
    followed = scene.tell(DeadlineReached(), after=6.0)

    assert deadline == 5.5
    assert ended(followed) == ["stopped"]
    assert messages(followed, Stop) == [("s1", Stop(now=True)), ("s2", Stop(now=True))]


def test_a_stop_while_steps_load_ends_at_once() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.join()

    followed = scene.tell(StopRequested(120.0))

    assert ended(followed) == ["stopped"]


def test_a_stop_before_any_worker_came_ends_at_once() -> None:
    assert ended(Scene(plan_of(generator())).tell(StopRequested(120.0))) == ["stopped"]


def test_hand_outs_that_wait_for_a_commit_are_taken_back_by_a_stop() -> None:
    scene = Scene(plan_of(generator(max_batches=1), step("a", "load")), held_commits=True)
    load, *_ = batches(scene.staff())
    scene.done(load)

    scene.tell(StopRequested(120.0))
    followed = scene.commit()

    assert batches(followed) == []
    assert ended(followed) == ["stopped"]


def test_a_run_that_completes_while_it_drains_is_done() -> None:
    scene = Scene(plan_of(generator(max_batches=1), step("a", "load")))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "a"))
    scene.tell(StopRequested(120.0))

    assert ended(scene.done(work)) == ["done"]


def test_a_kill_waits_for_nothing_not_even_a_full_disk() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), held_commits=True)
    first, *_ = batches(scene.staff())
    scene.done(first)
    scene.tell(CommitFailed("disk full"))

    followed = scene.tell(KillRequested())

    assert followed == [
        KeepSlots(0),
        *(each for each in followed if getattr(each, "message", None) == Stop(now=True)),
        EndRun("stopped"),
    ]
    assert len(followed) == 4


def test_a_kill_while_the_run_drains_ends_it() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.staff()
    scene.tell(StopRequested(120.0))

    assert ended(scene.tell(KillRequested())) == ["stopped"]


def test_a_failed_batch_ends_the_run_with_its_error() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, *_ = batches(scene.staff())

    followed = scene.tell(BatchFailed(first.session, first.lease, ERROR))

    assert only([each for each in followed if isinstance(each, EndRun)]) == EndRun("failed", "load", ERROR)
    assert messages(followed, Stop) == [("s1", Stop(now=True)), ("s2", Stop(now=True))]
    assert scene.core.progress(0.0).steps[0].state == "failed"


def test_answers_that_come_when_the_run_has_failed_are_kept_for_the_next_start() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, *_ = batches(scene.staff())
    work = only(batches(scene.done(first), "a"))
    scene.tell(BatchFailed(work.session, work.lease, ERROR))

    followed = scene.tell(AnswerCame(work.session, work.lease, 5, b"key", 0, b"answer"))

    assert [fact.key for fact in records(followed, AnswerRecorded)] == [b"key"]


def test_a_failure_of_a_batch_that_another_has_done_is_acknowledged() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, *_ = batches(scene.staff())
    work = only(batches(scene.done(first), "a"))
    scene.done(work)

    followed = scene.tell(BatchFailed(work.session, work.lease, ERROR))

    assert messages(followed, Ack) == [(work.session, Ack(lease=work.lease))]
    assert scene.core.outcome is None


def test_a_routing_function_that_raises_ends_the_run() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), step("b", "load"), routed=["load"]))
    first, *_ = batches(scene.staff())
    scene.done(first)

    assert scene.tell(RouteFailed("load", (9,), ERROR)) == []
    assert ended(scene.tell(RouteFailed("load", (), ERROR))) == ["failed"]


def test_nothing_is_recorded_after_the_end() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, second = batches(scene.staff())
    scene.tell(BatchFailed(first.session, first.lease, ERROR))

    assert scene.done(second) == []
    assert messages(scene.join(), Stop) == [("s3", Stop(now=True))]
    assert scene.core.next_deadline() is None


def test_a_run_of_which_all_is_recorded_is_done_without_a_worker() -> None:
    first = Scene(plan_of(generator(max_batches=1)))
    first.done(only(batches(first.staff())))

    again = Scene(first.core.run.plan, facts=first.facts)

    assert again.began == [KeepSlots(0), EndRun("done")]


def test_stages_follow_one_another_and_a_global_step_gets_everything_in_order() -> None:
    plan = plan_of(generator(size=2), global_step("all", "load"), stages=(("load",), ("all",)))
    scene = Scene(plan)
    first, second = batches(scene.staff())
    scene.done(first, 2)
    finished = scene.done(second, 1, last=True)

    given = only(batches(scene.load(scene.join())))

    assert KeepSlots(1) not in finished
    assert given.lease.seq_no == ()
    assert [(part.seq_no, part.start, part.stop) for part in given.inputs[0][1]] == [((), 0, 2), ((1,), 0, 1)]


def test_a_global_step_without_rows_is_not_called() -> None:
    scene = Scene(plan_of(generator(), global_step("all", "load")))
    first, _ = batches(scene.staff())

    scene.done(first, 0, last=True)

    assert scene.core.outcome == "done"

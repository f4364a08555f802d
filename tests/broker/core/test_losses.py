"""What is lost comes back, and what kills is found."""

from __future__ import annotations

import pytest

from distilmq.protocol.messages import Ack, Cancel, Lease
from distilmq_broker.core.commands import EndRun, KillWorker
from distilmq_broker.core.events import (
    BatchDone,
    BatchReturned,
    DeadlineReached,
    SupervisorExited,
    SupervisorJoined,
    WorkerExited,
    WorkerStalled,
)
from distilmq_broker.core.facts import BatchHalved, BatchRecorded, DeathCounted, RowsBuried
from tests.broker.core.scene import HOST, Scene, batches, generator, messages, only, plan_of, records, step


def scene_with_work(*, rows: int = 10, size: int = 10, replicas: int = 1, batches_given: int = 2, **more):
    """A chain `load → a` whose first batches are with `a`."""
    scene = Scene(
        plan_of(
            generator(size=size, max_batches=batches_given), step("a", "load", size=size, replicas=replicas, **more)
        )
    )
    given = []
    todo = batches(scene.staff())
    for order in todo:
        if order.lease.step == "load":
            followed = scene.done(order, rows)
            todo += batches(followed, "load")
            given += batches(followed, "a")
    return scene, given


def test_a_dead_workers_batches_go_to_another_at_once() -> None:
    scene, given = scene_with_work(replicas=2)
    first = given[0]

    followed = scene.dies(first.session)

    again = only(batches(followed, "a"))
    assert again.lease.seq_no == first.lease.seq_no
    assert again.lease.attempt == 2
    assert again.session != first.session


def test_only_the_batch_that_was_begun_counts_the_death() -> None:
    scene, given = scene_with_work()

    followed = scene.dies(scene.of("a"))

    assert len(given) == 2
    assert records(followed) == [DeathCounted("a", (), 0, 1, 1)]


def test_an_expected_exit_counts_no_death() -> None:
    scene, _ = scene_with_work()

    followed = scene.tell(WorkerExited(scene.of("a"), 0, expected=True))

    assert records(followed) == []


def test_a_batch_that_kills_three_workers_is_halved_until_the_poison_row_is_alone() -> None:
    scene, _ = scene_with_work(rows=4, size=4, batches_given=1)
    poison = 2
    buried: list[RowsBuried] = []
    for _ in range(40):
        work = next(iter(scene.core.run.workers.sessions[scene.of("a")].held.values()), None)
        if work is None:
            break
        [[part]] = work.cut.inputs
        if part.start <= poison < part.stop:
            followed = scene.dies(scene.of("a"))
            buried += records(followed, RowsBuried)
            scene.load(scene.join())
        else:
            scene.tell(BatchDone(scene.of("a"), scene.core.run.lease(work), part.stop - part.start, []))

    assert [type(fact) for fact in scene.facts if not isinstance(fact, BatchRecorded)] == [
        DeathCounted, DeathCounted, DeathCounted, BatchHalved, DeathCounted, BatchHalved, DeathCounted, RowsBuried,
    ]  # fmt: skip
    assert [(fact.inputs[0][0].start, fact.inputs[0][0].stop) for fact in buried] == [(2, 3)]
    recorded = [
        (f.part, f.inputs[0][0].start, f.rows) for f in scene.facts if isinstance(f, BatchRecorded) and f.step == "a"
    ]
    assert sorted(recorded) == [(1, 0, 2), (6, 3, 1)]
    assert scene.core.outcome == "done"


def test_a_batch_that_two_workers_died_of_is_handed_out_alone() -> None:
    scene, _given = scene_with_work()
    scene.dies(scene.of("a"))
    once = batches(scene.load(scene.join()), "a")
    scene.dies(scene.of("a"))
    twice = batches(scene.load(scene.join()), "a")
    after = batches(scene.done(twice[0]), "a")

    assert [order.lease.seq_no for order in once] == [(), (1,)]
    assert [order.lease.seq_no for order in twice] == [()]
    assert [order.lease.seq_no for order in after] == [(1,)]


def test_halves_have_one_attempt_each() -> None:
    scene, _ = scene_with_work(rows=4, size=4, batches_given=1)
    for _ in range(3):
        scene.dies(scene.of("a"))
        scene.load(scene.join())

    followed = scene.dies(scene.of("a"))

    assert [(fact.part, fact.inputs[0][0].stop) for fact in records(followed, BatchHalved)] == [(1, 2)]


def test_a_generator_that_kills_three_workers_ends_the_run() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.staff()
    for _ in range(2):
        scene.dies(scene.of("load"))
        scene.load(scene.join())

    end = only([c for c in scene.dies(scene.of("load"), output="Segmentation fault") if isinstance(c, EndRun)])

    assert (end.outcome, end.step) == ("failed", "load")
    assert "Segmentation fault" in end.error.message


def test_a_batch_that_two_heartbeats_do_not_list_goes_back_uncounted() -> None:
    scene, given = scene_with_work()

    once = scene.beat(scene.of("a"), given[1].lease)
    twice = scene.beat(scene.of("a"), given[1].lease)

    assert batches(once) == []
    assert [(order.lease.seq_no, order.lease.attempt) for order in batches(twice)] == [((), 2)]
    assert records(twice, DeathCounted) == []


def test_a_batch_that_is_listed_again_is_not_lost() -> None:
    scene, given = scene_with_work()

    scene.beat(scene.of("a"), given[1].lease)
    scene.beat(scene.of("a"), given[0].lease, given[1].lease)
    third = scene.beat(scene.of("a"), given[1].lease)

    assert batches(third) == []


def test_a_hand_out_that_waits_for_a_commit_is_not_missed() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), held_commits=True)
    first, *_ = batches(scene.staff())
    scene.done(first)

    beats = [scene.beat(scene.of("a")) for _ in range(5)]

    assert beats == [[]] * 5


def test_a_recorded_batch_that_a_heartbeat_lists_is_acknowledged_again() -> None:
    scene, given = scene_with_work()
    scene.done(given[0])

    followed = scene.beat(scene.of("a"), given[0].lease, given[1].lease)

    assert messages(followed, Ack) == [(scene.of("a"), Ack(lease=given[0].lease))]
    assert messages(followed, Cancel) == [(scene.of("a"), Cancel(lease=given[0].lease))]


def test_a_batch_that_stays_listed_is_sent_again_in_case_its_result_was_lost() -> None:
    scene, given = scene_with_work(batches_given=1)

    beats = [scene.beat(scene.of("a"), given[0].lease) for _ in range(8)]

    assert [batches(beat) for beat in beats] == [[], [], [], [given[0]], [], [], [], [given[0]]]


def test_a_returned_batch_goes_back_uncounted() -> None:
    scene, given = scene_with_work()

    followed = scene.tell(BatchReturned(scene.of("a"), given[0].lease))

    assert [order.lease.attempt for order in batches(followed, "a")] == [2]
    assert records(followed) == []


def test_a_batch_that_comes_back_late_is_not_taken_from_its_new_hand_out() -> None:
    scene, given = scene_with_work()
    scene.beat(scene.of("a"), given[1].lease)
    (again,) = batches(scene.beat(scene.of("a"), given[1].lease))

    late = scene.tell(BatchReturned(scene.of("a"), given[0].lease))
    returned = scene.tell(BatchReturned(scene.of("a"), again.lease))

    assert batches(late) == []
    assert [order.lease.attempt for order in batches(returned, "a")] == [3]


def test_a_silent_host_loses_its_batches_and_may_come_back() -> None:
    scene, given = scene_with_work()
    lost = scene.of("a")

    silent = scene.tell(DeadlineReached(), after=16.0)
    back = scene.join(step="a", ready=True, held=(given[0].lease,))

    assert records(silent, DeathCounted) == []
    assert lost not in scene.core.run.workers.sessions
    assert [order.lease.seq_no for order in batches(back, "a")] == [(1,)]


def test_any_message_of_a_host_is_a_sign_of_life() -> None:
    scene, _given = scene_with_work()
    for _ in range(3):
        scene.tell(SupervisorJoined("sup", HOST, 2), after=10.0)

    assert scene.of("a") in scene.core.run.workers.sessions


def test_a_supervisor_that_ends_takes_its_processes_with_it() -> None:
    scene, _ = scene_with_work()

    followed = scene.tell(SupervisorExited(HOST, -9))

    assert scene.core.run.workers.sessions == {}
    assert records(followed, DeathCounted) == []


def test_a_batch_that_takes_longer_than_its_timeout_ends_its_worker_and_counts() -> None:
    scene, given = scene_with_work(batch_timeout=5.0)
    for _ in range(4):
        scene.tell(SupervisorJoined("sup", HOST, 2), after=1.0)

    deadline = scene.core.next_deadline()
    followed = scene.tell(DeadlineReached(), after=1.0)

    assert deadline == 5.0
    assert [command.session for command in followed if isinstance(command, KillWorker)] == [given[0].session]
    assert records(followed) == [DeathCounted("a", (), 0, 1, 1)]


@pytest.mark.parametrize("lease", [None, Lease(step="a", seq_no=())])
def test_a_row_whose_time_was_over_is_buried_with_where_its_step_was(lease: Lease | None) -> None:
    scene = Scene(plan_of(generator(), step("a", "load", batch_timeout=5.0)))
    (first, *_) = batches(scene.staff())
    scene.done(first, 1, last=True)
    for _ in range(3):
        scene.tell(WorkerStalled(scene.of("a"), "at line 3", lease), after=4.5)
        scene.tell(SupervisorJoined("sup", HOST, 2))
        followed = scene.tell(DeadlineReached(), after=1.0)
        scene.load(scene.join())

    (buried,) = records(followed, RowsBuried)
    assert buried.error.traceback == "at line 3"


def test_what_was_said_of_a_batch_is_forgotten_with_it() -> None:
    scene, given = scene_with_work(batch_timeout=5.0)
    scene.tell(WorkerStalled(scene.of("a"), "at line 3", given[0].lease))

    scene.done(given[0])

    assert scene.core.run.workers.sessions[scene.of("a")].stacks == {}


def test_the_timeout_of_a_waiting_batch_begins_when_it_is_its_turn() -> None:
    scene, given = scene_with_work(batch_timeout=5.0)
    scene.tell(SupervisorJoined("sup", HOST, 2), after=4.0)
    scene.done(given[0])

    followed = scene.tell(DeadlineReached(), after=4.0)

    assert followed == []
    assert scene.core.next_deadline() == 9.0

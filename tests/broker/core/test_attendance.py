"""Processes come, load, come back and leave."""

from __future__ import annotations

import pytest

from distilmq.protocol.messages import ErrorInfo, Lease, Stop, Who
from distilmq_broker.core.commands import EndRun, KeepSlots, KillWorker, RefuseHost, SendAssign, SendBatch
from distilmq_broker.core.events import (
    BatchReturned,
    DeadlineReached,
    HostsExhausted,
    LoadFailed,
    SupervisorBeat,
    SupervisorExited,
    SupervisorJoined,
    WorkerBeat,
    WorkerExited,
    WorkerJoined,
    WorkerReady,
)
from distilmq_broker.core.facts import BatchRecorded, DeathCounted
from tests.broker.core.invariants import check_invariants
from tests.broker.core.scene import (
    HOST,
    Scene,
    batches,
    generator,
    global_step,
    messages,
    only,
    plan_of,
    records,
    step,
)


def assigned(commands):
    return [(each.step, each.replica) for each in commands if isinstance(each, SendAssign)]


def test_slots_are_asked_for_all_replicas_of_the_first_stage() -> None:
    scene = Scene(
        plan_of(generator(), step("a", "load", replicas=3), global_step("all", "a"), stages=(("load", "a"), ("all",)))
    )

    assert scene.began == [KeepSlots(4)]


def test_free_slots_get_one_replica_of_each_step_before_a_second_of_any() -> None:
    scene = Scene(plan_of(generator(), step("a", "load", replicas=2), step("b", "a", replicas=2)))

    order = [only(assigned(scene.join())) for _ in range(5)]

    assert order == [("load", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_a_slot_too_many_stays_idle_until_it_is_needed() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.staff()

    spare = scene.join()
    after = scene.dies(scene.of("a"))

    assert spare == []
    assert [(each.session, each.step) for each in after if isinstance(each, SendAssign)] == [("s3", "a")]


def test_a_process_that_takes_only_some_steps_gets_one_of_them() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))

    assert assigned(scene.join(steps=("a",))) == [("a", 0)]
    assert assigned(scene.join(steps=("a",))) == []


def test_a_generator_and_a_global_step_have_one_process() -> None:
    load = generator().model_copy(update={"resources": step("x", replicas=5).resources})

    assert Scene(plan_of(load)).began == [KeepSlots(1)]


def test_a_process_that_outlived_a_restart_goes_on_with_what_it_holds() -> None:
    before = Scene(plan_of(generator(), step("a", "load")))
    load, *_ = batches(before.staff())
    work = only(batches(before.done(load), "a"))
    scene = Scene(before.core.run.plan, facts=before.facts)

    joined = scene.join(step="a", ready=True, held=(work.lease,))
    done = scene.done(work, session="s1")

    assert batches(joined) == assigned(joined) == []
    assert done


def restarted() -> tuple[Scene, list[SendBatch]]:
    """A run on many hosts with two batches at work when its coordinator is killed, and the next coordinator."""
    before = Scene(plan_of(generator(max_batches=2), step("a", "load", replicas=2)), many_hosts=True)
    orders = batches(before.staff(), "load")
    out = [batch for order in orders for batch in batches(before.done(order), "a")]
    return Scene(before.core.run.plan, facts=before.facts, many_hosts=True, epoch=2), out


def test_what_a_process_may_hold_that_has_not_come_back_yet_is_not_given_to_another() -> None:
    scene, (first, second) = restarted()

    one = scene.join(step="a", ready=True, held=(first.lease,))
    other = scene.join(step="a", ready=True, held=(second.lease,))

    assert batches(one, "a") == batches(other, "a") == []


def test_what_nobody_has_brought_back_in_time_is_given_to_those_that_are_there() -> None:
    scene, (first, second) = restarted()
    scene.join(step="a", ready=True, held=(first.lease,))
    deadline = scene.core.next_deadline()
    assert deadline is not None

    late = scene.tell(DeadlineReached(), after=deadline)

    assert [order.lease.seq_no for order in batches(late, "a")] == [second.lease.seq_no]
    assert deadline == scene.core.run.plan.settings.liveness / 5


def test_a_result_that_comes_before_the_hello_of_its_worker_counts() -> None:
    before = Scene(plan_of(generator(), step("a", "load")))
    load, *_ = batches(before.staff())
    work = only(batches(before.done(load), "a"))
    scene = Scene(before.core.run.plan, facts=before.facts)

    done = scene.done(work)

    assert messages(done, Who) == [(work.session, Who())]
    assert scene.core.progress(0.0).steps[1].batches == 1


def test_a_process_for_which_there_is_no_room_any_more_may_leave() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.staff()

    followed = scene.join(step="a", ready=True)

    assert messages(followed, Stop) == [("s3", Stop())]


def test_an_unknown_session_is_asked_who_it_is() -> None:
    scene = Scene(plan_of(generator()))

    for event in (WorkerBeat("x", ()), WorkerReady("x", "load"), SupervisorBeat("x", ())):
        assert messages(scene.tell(event), Who) == [("x", Who())]


def test_a_process_that_never_got_its_assign_is_told_again() -> None:
    scene = Scene(plan_of(generator()))
    scene.join()

    again = scene.tell(WorkerJoined("s1", HOST))

    assert assigned(again) == [("load", 0)]


def test_a_loading_process_is_asked_now_and_then_in_case_its_ready_was_lost() -> None:
    scene = Scene(plan_of(generator()))
    scene.join()

    beats = [bool(messages(scene.beat("s1"), Who)) for _ in range(6)]
    known = scene.tell(WorkerJoined("s1", HOST, step="load", ready=True))

    assert beats == [False, False, True, False, False, True]
    assert [order.lease.step for order in batches(known)] == ["load", "load"]


def test_a_load_that_fails_ends_the_run_with_its_error() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.join()
    scene.join()
    error = ErrorInfo(type="ImportError", message="no module")

    end = only([each for each in scene.tell(LoadFailed("s2", "a", error)) if isinstance(each, EndRun)])

    assert (end.outcome, end.step, end.error, end.loading) == ("failed", "a", error, True)


def test_a_step_whose_processes_die_while_loading_ends_the_run_with_their_last_words() -> None:
    scene = Scene(plan_of(generator()))
    for _ in range(2):
        scene.join()
        assert scene.dies(f"s{scene.joined}") == []
    scene.join()

    end = only([each for each in scene.dies("s3", output="Segmentation fault") if isinstance(each, EndRun)])

    assert (end.outcome, end.step, end.loading) == ("failed", "load", True)
    assert "exit code -11" in end.error.message
    assert "Segmentation fault" in end.error.message


def test_a_load_that_succeeds_forgets_the_deaths_before_it() -> None:
    scene = Scene(plan_of(generator()))
    for _ in range(2):
        scene.join()
        scene.dies(f"s{scene.joined}")
    scene.load(scene.join())
    scene.dies("s3")
    scene.join()

    assert scene.dies("s4") == []


def test_processes_that_never_say_hello_end_the_run() -> None:
    scene = Scene(plan_of(generator()))

    for number in range(5):
        assert scene.tell(WorkerExited(f"x{number}", 1, "no module named distilmq")) == []
    end = only(
        [each for each in scene.tell(WorkerExited("x9", 1, "no module named distilmq")) if isinstance(each, EndRun)]
    )

    assert "no module named distilmq" in end.error.message


def test_a_hello_that_comes_after_the_end_of_its_process_is_passed_over() -> None:
    scene = Scene(plan_of(generator()))
    scene.tell(WorkerExited("s1", -9))

    assert scene.join() == []


def test_a_process_that_its_supervisor_does_not_list_any_more_is_gone() -> None:
    scene = Scene(plan_of(generator()))
    scene.tell(SupervisorJoined("sup", HOST, 2))
    scene.staff()
    scene.tell(SupervisorBeat("sup", ("s1",)))

    scene.tell(SupervisorBeat("sup", ()))
    assert "s1" in scene.core.run.workers.sessions
    scene.tell(SupervisorBeat("sup", ()))
    assert "s1" not in scene.core.run.workers.sessions


def test_a_process_is_on_the_host_that_lists_it_whatever_name_it_says() -> None:
    scene = Scene(plan_of(generator()))
    scene.tell(SupervisorJoined("sup", "h-4e6b7e", 2))
    scene.tell(SupervisorJoined("other", HOST, 2))
    scene.staff()

    for _ in range(5):
        scene.tell(SupervisorBeat("sup", ("s1",)))
        scene.tell(SupervisorBeat("other", ("another",)))
    stays = "s1" in scene.core.run.workers.sessions
    scene.tell(SupervisorExited("h-4e6b7e", -9))

    assert stays
    assert "s1" not in scene.core.run.workers.sessions


def test_a_finished_steps_processes_are_told_to_leave_after_their_slots_are_given_up() -> None:
    scene = Scene(plan_of(generator(max_batches=1), step("a", "load")))
    load, *_ = batches(scene.staff())

    followed = scene.done(load)

    kinds = [type(each) for each in followed]
    assert KeepSlots(1) in followed
    assert messages(followed, Stop) == [(load.session, Stop())]
    assert kinds.index(KeepSlots) < max(
        place for place, each in enumerate(followed) if isinstance(getattr(each, "message", None), Stop)
    )


def test_a_process_that_does_not_stop_is_ended() -> None:
    scene = Scene(plan_of(generator(max_batches=1), step("a", "load")))
    load, *_ = batches(scene.staff())
    scene.done(load)
    scene.tell(SupervisorJoined("sup", HOST, 2))

    beats = [scene.beat(load.session, Lease(step="load", seq_no=(7,))) for _ in range(30)]

    assert [each for beat in beats[:-1] for each in beat if isinstance(each, KillWorker)] == []
    assert only([each for each in beats[-1] if isinstance(each, KillWorker)]).session == load.session


@pytest.mark.parametrize("held", [(), (Lease(step="a", seq_no=(3,)),)])
def test_a_slot_that_says_hello_while_the_run_drains_is_sent_away(held: tuple[Lease, ...]) -> None:
    from distilmq_broker.core.events import StopRequested

    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.staff()
    scene.tell(StopRequested(10.0))

    followed = scene.join(held=held)

    assert messages(followed, Stop) == [("s3", Stop(now=not held))]


MISSING = ErrorInfo(type="ModuleNotFoundError", message="No module named 'x'")


def test_a_host_that_lacks_a_package_is_refused_and_another_one_gets_the_step() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), many_hosts=True)
    scene.join(worker="h1")
    scene.join(worker="h1", steps=("a",))

    refused = scene.tell(LoadFailed("s2", "a", MISSING))
    again = scene.join(worker="h1", steps=("a",))
    elsewhere = scene.join(worker="h2", steps=("a",))

    why = "ModuleNotFoundError: No module named 'x'; install it there, and start the worker again"
    assert RefuseHost("h1", "a", why) in refused
    assert messages(refused, Stop) == [("s2", Stop())]
    assert [each for each in refused if isinstance(each, EndRun)] == []
    assert (assigned(again), assigned(elsewhere)) == ([], [("a", 0)])


def test_a_host_that_comes_to_lack_a_package_gives_its_batches_to_another() -> None:
    scene = Scene(plan_of(generator(max_batches=1), step("a", "load", replicas=3, size=5)), many_hosts=True)
    load = only(batches(scene.load(scene.join(worker="h1"))))
    for _ in range(2):
        scene.load(scene.join(worker="h1", steps=("a",)))
    first, second = batches(scene.done(load), "a")

    refused = scene.tell(LoadFailed(first.session, "a", MISSING))
    again = scene.join(worker="h1", steps=("a",))
    kept = scene.tell(BatchReturned(first.session, first.lease))
    taken = only(batches(scene.load(scene.join(worker="h2", steps=("a",)))))
    recorded = records(scene.done(second), BatchRecorded)

    why = "ModuleNotFoundError: No module named 'x'; install it there, and start the worker again"
    assert [each for each in refused if isinstance(each, RefuseHost)] == [RefuseHost("h1", "a", why)]
    assert messages(refused, Stop) == [(first.session, Stop()), (second.session, Stop())]
    assert (assigned(again), batches(kept)) == ([], [])
    assert (taken.lease.seq_no, taken.lease.attempt) == (first.lease.seq_no, 2)
    assert [fact.seq_no for fact in recorded] == [second.lease.seq_no]
    assert not any(isinstance(fact, DeathCounted) for fact in scene.facts)


def test_a_generator_that_comes_to_lack_a_package_goes_on_elsewhere_where_its_records_end() -> None:
    scene = Scene(plan_of(generator(max_batches=2), step("a", "load")), many_hosts=True)
    first, second = batches(scene.load(scene.join(worker="h1", steps=("load",))))
    scene.done(first)

    refused = scene.tell(LoadFailed(second.session, "load", MISSING))
    scene.tell(BatchReturned(second.session, second.lease))
    taken = only(batches(scene.load(scene.join(worker="h2", steps=("load",)))))

    assert [each.session for each in refused if isinstance(each, KillWorker)] == [second.session]
    assert (taken.lease.seq_no, taken.offset) == (second.lease.seq_no, 10)
    assert not any(isinstance(fact, DeathCounted) for fact in scene.facts)


def test_a_generator_that_lacks_a_package_and_came_back_to_another_coordinator_is_ended_before_it_is_replaced() -> None:
    first = Lease(step="load", seq_no=())
    scene = Scene(plan_of(generator(max_batches=3), step("a", "load")), many_hosts=True, epoch=2)
    scene.tell(WorkerJoined("old", "h1", (), "load", ready=False, held=(first,)))

    refused = scene.tell(LoadFailed("old", "load", MISSING))
    taken = batches(scene.load(scene.join(worker="h2", steps=("load",))))
    late = scene.tell(WorkerExited("old", -9, ""))

    assert [each.session for each in refused if isinstance(each, KillWorker)] == ["old"]
    assert {order.session for order in taken} == {"s1"}
    assert [order.lease.seq_no for order in taken] == [(), (1,)]
    assert batches(late) == []
    check_invariants(scene.core, ())


def test_what_the_only_machine_lacks_ends_the_run_when_it_comes_to_that() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.staff()

    ended = only([each for each in scene.tell(LoadFailed("s2", "a", MISSING)) if isinstance(each, EndRun)])

    assert (ended.outcome, ended.step, ended.error, ended.loading) == ("failed", "a", MISSING, True)


def test_a_host_that_was_refused_is_tried_again_when_it_was_started_anew() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), many_hosts=True)
    scene.tell(SupervisorJoined("first", "h1", 1))
    scene.join(worker="h1", steps=("a",))
    scene.tell(LoadFailed("s1", "a", MISSING))

    scene.tell(SupervisorJoined("second", "h1", 1))

    assert assigned(scene.join(worker="h1", steps=("a",))) == [("a", 0)]


def test_a_run_fails_when_no_host_is_left_that_could_load_a_step() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), many_hosts=True)
    scene.join(worker="h1", steps=("a",))
    scene.tell(LoadFailed("s1", "a", MISSING))

    ended = only([each for each in scene.tell(HostsExhausted("a")) if isinstance(each, EndRun)])

    assert (ended.outcome, ended.step, ended.loading, ended.error.type) == ("failed", "a", True, MISSING.type)
    assert "No module named 'x' (No worker is left to try; tried: h1." in ended.error.message


@pytest.mark.parametrize("step_of", ["a", "load", "nothing"])
def test_hosts_that_were_refused_by_others_fail_no_run(step_of: str) -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), many_hosts=True)
    scene.join(worker="h1", steps=("a",))
    scene.tell(LoadFailed("s1", "a", MISSING))
    scene.join(worker="h2", steps=("a",))

    assert [each for each in scene.tell(HostsExhausted(step_of)) if isinstance(each, EndRun)] == []


@pytest.mark.parametrize(
    ("many_hosts", "error"), [(False, MISSING), (True, ErrorInfo(type="ValueError", message="no"))]
)
def test_what_no_other_host_could_load_ends_the_run(error: ErrorInfo, *, many_hosts: bool) -> None:
    scene = Scene(plan_of(generator(), step("a", "load")), many_hosts=many_hosts)
    scene.join(steps=("a",))

    ended = only([each for each in scene.tell(LoadFailed("s1", "a", error)) if isinstance(each, EndRun)])

    assert (ended.outcome, ended.error) == ("failed", error)

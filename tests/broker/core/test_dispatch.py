"""Who gets what, and how far generators run ahead."""

from __future__ import annotations

from distilmq.protocol.messages import Cancel, Lease, Who
from distilmq_broker.core import policy
from distilmq_broker.core.commands import SendPart
from distilmq_broker.core.events import PartWanted, PauseRequested, ResumeRequested
from tests.broker.core.scene import Scene, batches, generator, global_step, messages, only, plan_of, step


def test_a_worker_gets_no_more_than_its_credit() -> None:
    scene = Scene(plan_of(generator(size=50), step("a", "load", size=10)))
    load, *_ = batches(scene.staff())

    followed = batches(scene.done(load, 50), "a")

    assert [order.lease.seq_no for order in followed] == [(), (0, 10)]


def test_batches_go_to_the_replica_that_holds_least() -> None:
    scene = Scene(plan_of(generator(size=50), step("a", "load", size=10, replicas=3)))
    load, *_ = batches(scene.staff())

    followed = batches(scene.done(load, 50), "a")

    assert [order.session for order in followed] == ["s2", "s3", "s4", "s2", "s3"]


def test_the_foremost_batch_goes_first() -> None:
    scene = Scene(plan_of(generator(size=10), step("a", "load", size=10), step("b", "a", size=10)))
    first, second = batches(scene.staff())
    given = batches(scene.done(first), "a") + batches(scene.done(second), "a")

    scene.dies(scene.of("b"))
    scene.done(given[1])
    scene.done(given[0])
    followed = batches(scene.load(scene.join()), "b")

    assert [order.lease.seq_no for order in followed] == [(), (1,)]


def test_a_generator_waits_while_enough_rows_wait() -> None:
    scene = Scene(plan_of(generator(size=10), step("a", "load", size=5), waiting_rows=15))
    first, second = batches(scene.staff())
    scene.done(first)

    followed = scene.done(second)

    # Ten rows are with the worker and ten wait, and one batch is asked for.
    assert [order.lease.step for order in batches(followed)] == ["load"]
    third = only(batches(followed))
    assert batches(scene.done(third)) == []


def test_with_nothing_out_a_generator_is_asked_whatever_the_bound() -> None:
    scene = Scene(plan_of(generator(size=4), step("a", "load", size=100), waiting_rows=1))
    first, second = batches(scene.staff())
    scene.done(first, 4)

    followed = batches(scene.done(second, 4))

    assert [order.lease.seq_no for order in followed] == [(2,)]


def test_rows_for_a_later_stage_do_not_hold_up_a_generator() -> None:
    plan = plan_of(generator(size=10), step("a", "load"), stages=(("load",), ("a",)), waiting_rows=1)
    scene = Scene(plan)
    first, _ = batches(scene.staff())

    assert [order.lease.step for order in batches(scene.done(first))] == ["load"]


def test_rows_for_a_global_step_do_not_hold_up_a_generator() -> None:
    scene = Scene(plan_of(generator(size=10), global_step("all", "load"), waiting_rows=1))
    first, _ = batches(scene.staff())

    assert [order.lease.step for order in batches(scene.done(first))] == ["load"]


def test_generators_that_meet_in_a_join_keep_pace() -> None:
    plan = plan_of(generator("x", size=10), generator("y", size=10), step("join", "x", "y", size=10), waiting_rows=1)
    scene = Scene(plan)
    orders = batches(scene.staff())
    asked: list[str] = []
    while len(asked) < 20:
        order = orders.pop(0)
        asked.append(order.lease.step)
        orders += batches(scene.done(order))

    assert abs(asked.count("x") - asked.count("y")) <= 3


def test_one_slow_pipeline_of_a_plan_does_not_hold_up_another() -> None:
    plan = plan_of(
        generator("x", size=10), step("slow", "x"), generator("y", size=10), step("quick", "y"), waiting_rows=1
    )
    scene = Scene(plan)
    orders = batches(scene.staff())
    for order in orders:
        if order.lease.step == "x":
            scene.done(order)

    followed = scene.done(next(order for order in orders if order.lease.step == "y"))

    assert {order.lease.step for order in batches(followed)} == {"quick", "y"}


def test_a_paused_run_hands_out_nothing_until_it_is_resumed() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    first, *_ = batches(scene.staff())

    paused = scene.tell(PauseRequested("lunch"))
    meanwhile = scene.done(first)
    shown = scene.core.progress(0.0)
    resumed = scene.tell(ResumeRequested())

    assert paused == []
    assert batches(meanwhile) == []
    assert (shown.state, shown.reason) == ("paused", "lunch")
    assert {order.lease.step for order in batches(resumed)} == {"load", "a"}


def test_a_process_that_is_done_in_a_moment_gets_more_to_go_on_with() -> None:
    scene = Scene(plan_of(generator(size=1000), step("a", "load", size=10)))
    load, *_ = batches(scene.staff())
    held = batches(scene.done(load, 1000), "a")

    for _ in range(policy.QUICK_RUN):
        held += batches(scene.done(held.pop(0)), "a")

    assert len(held) == policy.QUICK_CREDIT


def test_one_slow_batch_ends_that() -> None:
    scene = Scene(plan_of(generator(size=1000), step("a", "load", size=10)))
    load, *_ = batches(scene.staff())
    held = batches(scene.done(load, 1000), "a")
    for _ in range(policy.QUICK_RUN):
        held += batches(scene.done(held.pop(0)), "a")

    scene.now += 1.0
    followed = batches(scene.done(held.pop(0)), "a")
    while not followed:
        followed = batches(scene.done(held.pop(0)), "a")

    assert len(held) + len(followed) == policy.CREDIT


def test_whoever_holds_a_batch_gets_the_part_it_asks_for() -> None:
    scene = Scene(plan_of(generator(size=10), step("a", "load", size=10)))
    load, *_ = batches(scene.staff())
    order = only(batches(scene.done(load), "a"))

    first = scene.tell(PartWanted(order.session, order.lease))
    other = scene.tell(PartWanted(order.session, order.lease, (0, 1, 2, 3)))

    inputs = tuple(slices for _, slices in order.inputs)
    assert first == [SendPart(order.session, order.lease, inputs)]
    assert other == [SendPart(order.session, order.lease, inputs, (0, 1, 2, 3))]


def test_a_part_of_a_batch_that_is_with_nobody_or_another_is_not_sent() -> None:
    scene = Scene(plan_of(generator(size=20), step("a", "load", size=10, replicas=2)))
    load, *_ = batches(scene.staff())
    one, other, *_ = batches(scene.done(load, 20), "a")
    unheard = Lease(step="a", seq_no=(99,))
    stray = Lease(step="load", seq_no=one.lease.seq_no)

    for lease in (other.lease, unheard, stray):
        assert scene.tell(PartWanted(one.session, lease))[0].message == Cancel(lease=lease)  # type: ignore[union-attr]
    assert messages(scene.tell(PartWanted("nobody", one.lease)), Who) == [("nobody", Who())]


def test_a_batch_whose_rows_are_on_their_way_is_not_late() -> None:
    scene = Scene(plan_of(generator(size=10), step("a", "load", size=10, batch_timeout=10.0)))
    load, *_ = batches(scene.staff())
    order = only(batches(scene.done(load), "a"))

    for _ in range(5):
        scene.tell(PartWanted(order.session, order.lease), after=9.0)
    expiry = scene.core.next_deadline()

    assert scene.core.run.workers.sessions[order.session].held
    assert expiry is not None
    assert expiry <= scene.now + 10.0

"""Which step processes a run wants of a broker, and what it waits for before it wants them."""

from __future__ import annotations

from distilmq.protocol.messages import Stop
from distilmq_broker.core.commands import Send, SendAssign, SendBatch
from distilmq_broker.core.events import PauseRequested, SecretsMissing, StopRequested, WorkerReady
from distilmq_broker.core.wanted import Wanted
from tests.broker.core.scene import Scene, batches, generator, global_step, plan_of, step


def test_every_replica_of_the_steps_loaded_now_is_wanted() -> None:
    scene = Scene(
        plan_of(generator(), step("a", "load", replicas=3), global_step("all", "a"), stages=(("load", "a"), ("all",)))
    )

    assert scene.core.wanted() == [Wanted("load", 1, work=1), Wanted("a", 3, work=0)]


def test_a_step_has_work_while_batches_wait_or_are_in_hand() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    (order, *_) = batches(scene.load(scene.join()), "load")
    scene.done(order)

    waiting = scene.core.wanted()
    handed = batches(scene.load(scene.join()), "a")
    in_hand = scene.core.wanted()
    scene.done(handed[0])

    assert {wanted.step: wanted.work for wanted in waiting}["a"] == 1
    assert {wanted.step: wanted.work for wanted in in_hand}["a"] == 1
    assert {wanted.step: wanted.work for wanted in scene.core.wanted()}["a"] == 0


def test_a_generator_has_nothing_to_do_while_enough_rows_wait() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), waiting_rows=20))
    orders = batches(scene.load(scene.join()), "load")
    for order in orders:
        orders += batches(scene.done(order), "load")

    # No process of the other step is there, and rows wait for it.
    assert len(orders) < 10
    assert scene.core.wanted() == [Wanted("load", 1, work=0, ready=1), Wanted("a", 1, work=len(orders))]


def test_a_run_that_is_paused_has_no_new_work_and_one_that_drains_keeps_who_holds_something() -> None:
    scene = Scene(plan_of(generator(), step("a", "load", replicas=2)))
    scene.staff()
    held = scene.core.wanted()[0].work
    scene.tell(PauseRequested("a user"))
    paused = scene.core.wanted()
    scene.tell(StopRequested(60.0))

    assert paused == [Wanted("load", 1, work=held - 1, ready=1), Wanted("a", 2, work=0, ready=2)]
    assert scene.core.wanted() == [Wanted("load", 1, work=1, ready=1)]


def test_a_step_whose_secret_nobody_has_told_waits_for_it_and_says_so() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.tell(SecretsMissing((("a", ("llm.api_key",)),)))
    scene.load(scene.join())

    nothing = scene.join()
    waiting = scene.core.wanted()
    note = scene.core.progress(scene.now).steps[1].note
    assigned = scene.tell(SecretsMissing(()))

    assert nothing == []
    assert waiting == [Wanted("load", 1, work=3, ready=1), Wanted("a", 1, work=0, fed=True, waits=True)]
    assert note == "waits for a secret: llm.api_key. Run its script again, or keep it at the broker"
    assert [command.step for command in assigned if isinstance(command, SendAssign)] == ["a"]
    assert not any(wanted.waits for wanted in scene.core.wanted())
    assert scene.core.progress(scene.now).steps[1].note == ""


def test_processes_that_have_the_secret_from_before_a_restart_go_on() -> None:
    scene = Scene(plan_of(generator(), step("a", "load", replicas=2)))
    scene.tell(SecretsMissing((("a", ("llm.api_key",)),)))
    (order, *_) = batches(scene.load(scene.join(steps=("load",))), "load")

    scene.join(steps=("a",), step="a", ready=True)
    handed = batches(scene.done(order), "a")
    new = scene.join(steps=("a",))

    assert [batch.session for batch in handed] == ["s2"]
    assert new == [Send("s3", Stop())]
    assert scene.core.wanted()[1] == Wanted("a", 2, work=1, ready=1, waits=True)
    assert scene.core.progress(scene.now).steps[1].note == (
        "new processes wait for a secret: llm.api_key. Run its script again, or keep it at the broker"
    )


def test_how_long_loading_takes_and_who_has_loaded_is_told() -> None:
    scene = Scene(plan_of(generator(), step("a", "load", replicas=2)))
    for _ in range(3):
        scene.join()

    for session, step_name, seconds in (("s1", "load", 1.0), ("s2", "a", 6.0), ("s3", "a", 0.0)):
        scene.tell(WorkerReady(session, step_name), after=seconds)

    assert [(wanted.ready, wanted.load) for wanted in scene.core.wanted()] == [(1, 1.0), (2, 7.0)]


def test_a_step_is_fed_while_those_before_it_are_at_work() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), step("b", "a"), global_step("all", "b")))
    scene.staff()

    whole = fed(scene)
    scene.dies(scene.of("a"))
    broken = fed(scene)

    assert (whole, broken) == (["a", "b"], ["a"])


def test_a_generator_that_ran_ahead_is_fed_while_others_are_at_work() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), waiting_rows=20))
    given = batches(scene.staff(), "load")

    run_ahead(scene, given)

    assert fed(scene) == ["load"]


def test_rows_that_wait_for_a_process_weigh_little_where_slots_are_granted() -> None:
    plan = plan_of(generator(), step("a", "load"), waiting_rows=20)
    here, anywhere = Scene(plan), Scene(plan, many_hosts=True)

    given, far = [run_ahead(scene, batches(scene.load(scene.join()), "load")) for scene in (here, anywhere)]

    assert given == 3
    assert 32 <= far <= 40


def test_a_generator_without_a_process_wants_one_when_half_of_what_may_wait_is_taken() -> None:
    scene = Scene(plan_of(generator(), step("a", "load"), waiting_rows=60), many_hosts=True)
    run_ahead(scene, batches(scene.load(scene.join()), "load"))
    scene.dies(scene.of("load"))
    orders = batches(scene.load(scene.join(steps=("a",))), "a")

    wanted_at: list[int] = []
    for order in orders:
        if scene.core.wanted()[0].work:
            wanted_at.append(scene.core.run.flow.steps[1].buffer.rows)
        orders += batches(scene.done(order), "a")

    assert len(orders) > 90
    assert 0 < wanted_at[0] < 30


def fed(scene: Scene) -> list[str]:
    """The steps that have nothing to do, though more comes."""
    return [wanted.step for wanted in scene.core.wanted() if wanted.fed]


def run_ahead(scene: Scene, orders: list[SendBatch]) -> int:
    """A generator gives all that it is asked for; how many batches that is."""
    for order in orders:
        orders += batches(scene.done(order), "load")
    return len(orders)

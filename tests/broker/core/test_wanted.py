"""Which step processes a run wants of a broker, and what it waits for before it wants them."""

from __future__ import annotations

from distilmq.protocol.messages import Stop
from distilmq_broker.core.commands import Send, SendAssign
from distilmq_broker.core.events import PauseRequested, SecretsMissing, StopRequested
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
    assert scene.core.wanted() == [Wanted("load", 1, work=0), Wanted("a", 1, work=len(orders))]


def test_a_run_that_is_paused_has_no_new_work_and_one_that_drains_keeps_who_holds_something() -> None:
    scene = Scene(plan_of(generator(), step("a", "load", replicas=2)))
    scene.staff()
    held = scene.core.wanted()[0].work
    scene.tell(PauseRequested("a user"))
    paused = scene.core.wanted()
    scene.tell(StopRequested(60.0))

    assert paused == [Wanted("load", 1, work=held - 1), Wanted("a", 2, work=0)]
    assert scene.core.wanted() == [Wanted("load", 1, work=1)]


def test_a_step_whose_secret_nobody_has_told_waits_for_it_and_says_so() -> None:
    scene = Scene(plan_of(generator(), step("a", "load")))
    scene.tell(SecretsMissing((("a", ("llm.api_key",)),)))
    scene.load(scene.join())

    nothing = scene.join()
    waiting = scene.core.wanted()
    note = scene.core.progress(scene.now).steps[1].note
    assigned = scene.tell(SecretsMissing(()))

    assert nothing == []
    assert waiting == [Wanted("load", 1, work=3), Wanted("a", 1, work=0, waits=True)]
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
    assert scene.core.wanted()[1] == Wanted("a", 2, work=1, waits=True)
    assert scene.core.progress(scene.now).steps[1].note == (
        "new processes wait for a secret: llm.api_key. Run its script again, or keep it at the broker"
    )

"""A new coordinator goes on where the facts end, whatever order they are replayed in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distilmq_broker.core.commands import Route
from distilmq_broker.core.events import Routed
from distilmq_broker.core.facts import BatchRecorded, Fact
from tests.broker.core.scene import Scene, batches, generator, only, plan_of, records, step


def test_recorded_batches_are_not_handed_out_again_and_the_others_are_cut_alike() -> None:
    before = Scene(plan_of(generator(size=10, max_batches=2), step("a", "load", size=4)))
    first, second = batches(before.staff())
    given = batches(before.done(first), "a") + batches(before.done(second), "a")
    before.done(given[1], 4)
    scene = Scene(before.core.run.plan, facts=reversed(before.facts))

    followed = batches(scene.staff(), "a")

    assert [order.lease.seq_no for order in given] == [(), (0, 4)]
    assert [order.lease.seq_no for order in followed] == [(), (0, 8)]
    assert scene.core.progress(0.0).steps[0].state == "done"


def test_a_recorded_batch_without_a_choice_is_routed() -> None:
    before = Scene(plan_of(generator(), step("a", "load"), step("b", "load"), routed=["load"]))
    load, *_ = batches(before.staff())
    before.done(load)

    scene = Scene(before.core.run.plan, facts=before.facts)

    assert [each for each in scene.began if isinstance(each, Route)] == [Route("load", (), ("a", "b"))]


def test_a_recorded_choice_is_not_asked_for_again() -> None:
    before = Scene(plan_of(generator(), step("a", "load"), step("b", "load"), routed=["load"]))
    load, *_ = batches(before.staff())
    before.done(load)
    before.tell(Routed("load", (), ("b",)))
    scene = Scene(before.core.run.plan, facts=before.facts)

    followed = batches(scene.staff())

    assert [each for each in scene.began if isinstance(each, Route)] == []
    assert [order.lease.step for order in followed if order.lease.step != "load"] == ["b"]


def test_deaths_are_remembered() -> None:
    before = Scene(plan_of(generator(size=4, max_batches=1), step("a", "load", size=4)))
    load = only(batches(before.staff()))
    before.done(load, 4)
    for _ in range(2):
        before.dies(before.of("a"))
        before.load(before.join())
    scene = Scene(before.core.run.plan, facts=before.facts)
    scene.staff()

    followed = scene.dies(scene.of("a"))

    assert [type(fact).__name__ for fact in records(followed)] == ["DeathCounted", "BatchHalved"]


def test_a_halved_batch_goes_on_in_halves() -> None:
    before = Scene(plan_of(generator(size=4, max_batches=1), step("a", "load", size=4)))
    before.done(only(batches(before.staff())), 4)
    for _ in range(3):
        before.dies(before.of("a"))
        given = batches(before.load(before.join()), "a")
    before.done(given[0], 2)
    scene = Scene(before.core.run.plan, facts=before.facts)

    followed = only(batches(scene.staff()))
    scene.done(followed, 2)

    assert [order.lease.part for order in given] == [1]
    assert followed.lease.part == 2
    assert scene.core.outcome == "done"


@pytest.mark.parametrize("size", [3, 10])
def test_batches_keep_their_boundaries_when_the_size_has_changed(size: int) -> None:
    before = Scene(plan_of(generator(size=10, max_batches=1), step("a", "load", size=5)))
    load = only(batches(before.staff()))
    given = batches(before.done(load), "a")
    before.done(given[1], 5)
    plan = plan_of(generator(size=10, max_batches=1), step("a", "load", size=size))
    scene = Scene(plan, facts=before.facts)
    todo = batches(scene.staff())
    taken: list[tuple[int, int]] = []
    while todo:
        [[_, [part]]] = todo[0].inputs
        taken.append((part.start, part.stop))
        todo = todo[1:] + batches(scene.done(todo[0], part.stop - part.start))

    assert taken == ([(0, 3), (3, 5)] if size == 3 else [(0, 5)])
    assert scene.core.outcome == "done"


def test_batches_of_a_pipeline_without_the_join_are_adopted_with_labels_made_anew() -> None:
    before = Scene(plan_of(generator(size=4, max_batches=1), step("a", "load", size=2), step("b", "load", size=4)))
    todo = batches(before.staff())
    while todo:
        order = todo.pop(0)
        todo += batches(before.done(order, sum(part.stop - part.start for _, s in order.inputs for part in s) or 4))
    plan = plan_of(
        generator(size=4, max_batches=1),
        step("a", "load", size=2),
        step("b", "load", size=4),
        step("join", "a", "b", size=10),
    )
    scene = Scene(plan, facts=before.facts)

    joined = only(batches(scene.staff()))

    assert all(fact.span == () for fact in before.facts if isinstance(fact, BatchRecorded))
    assert [sum(part.stop - part.start for part in slices) for _, slices in joined.inputs] == [4, 4]


def test_facts_of_steps_that_the_plan_does_not_have_are_passed_over() -> None:
    before = Scene(plan_of(generator(max_batches=1)))
    before.done(only(batches(before.staff())))
    strange: list[Fact] = [replace(fact, step="gone") for fact in before.facts]

    scene = Scene(before.core.run.plan, facts=strange)

    assert len(batches(scene.staff())) == 1


def test_a_batch_that_is_computed_again_goes_where_it_was_routed_before() -> None:
    plan = plan_of(generator(max_batches=1), step("ask", "load"), step("a", "ask"), step("b", "ask"), routed=["ask"])
    before = Scene(plan)
    load = only(batches(before.staff()))
    (ask,) = batches(before.done(load), "ask")
    before.done(ask)
    before.tell(Routed("ask", (), ("b",)))
    without_ask = [fact for fact in before.facts if not (isinstance(fact, BatchRecorded) and fact.step == "ask")]
    scene = Scene(plan, facts=without_ask)
    (again,) = batches(scene.staff(), "ask")

    followed = scene.done(again)

    assert [each for each in followed if isinstance(each, Route)] == []
    assert [order.lease.step for order in batches(followed)] == ["b"]

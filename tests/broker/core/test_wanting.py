"""Processes that work on several batches at once: how many they get, and what their deaths and timeouts count for."""

from __future__ import annotations

from distilmq_broker.core import policy
from distilmq_broker.core.events import BatchesWanted, DeadlineReached, WorkerReady
from distilmq_broker.core.facts import DeathCounted
from tests.broker.core.scene import Scene, batches, generator, only, plan_of, records, step


def scene_at_once(*, wants: int, at_once: int = 64, given: int = 6, **more: object) -> tuple[Scene, str]:
    """A chain `load → a` whose process of `a` wants several batches, with six batches loaded."""
    scene = Scene(plan_of(generator(size=10, max_batches=given), step("a", "load", size=10, **more)))
    todo = batches(scene.staff(), "load")
    session = scene.of("a")
    scene.tell(WorkerReady(session, "a", at_once))
    scene.tell(BatchesWanted(session, wants))
    while todo:
        todo += batches(scene.done(todo.pop(0)), "load")
    return scene, session


def held(scene: Scene, session: str) -> int:
    return len(scene.core.run.workers.sessions[session].held)


def test_a_process_gets_as_many_batches_as_it_wants() -> None:
    scene, session = scene_at_once(wants=5)

    assert held(scene, session) == 5


def test_one_that_has_enough_is_given_no_other_for_what_it_finishes() -> None:
    scene, session = scene_at_once(wants=5)
    scene.tell(BatchesWanted(session, 3))
    first = next(iter(scene.core.run.workers.sessions[session].held.values()))
    order = scene.core.run.lease(first)

    scene.tell(BatchesWanted(session, 3))

    assert held(scene, session) == 5
    assert order.attempt == 1


def test_what_is_wanted_has_a_bound_and_nonsense_means_nothing() -> None:
    spec = step("a", "load")

    assert policy.credit(spec, 0, 10**9) == policy.MOST_CREDIT
    assert policy.credit(spec, 0, -5) == policy.CREDIT


def test_a_death_counts_for_every_batch_that_was_at_work() -> None:
    scene, session = scene_at_once(wants=3, given=3)

    followed = scene.dies(session)

    assert [fact.deaths for fact in records(followed, DeathCounted)] == [1, 1, 1]


def test_the_one_that_kills_is_found_by_handing_suspects_out_alone() -> None:
    scene, session = scene_at_once(wants=3, given=3)
    scene.dies(session)
    for _ in range(2):
        scene.load(scene.join())
        session = scene.of("a")
        scene.tell(WorkerReady(session, "a", 64))
        scene.tell(BatchesWanted(session, 3))
        if held(scene, session) == 1:
            break
        scene.dies(session)

    assert held(scene, session) == 1


def test_only_the_batch_whose_time_is_over_counts_the_timeout() -> None:
    scene, session = scene_at_once(wants=1, given=2, batch_timeout=10.0)
    scene.now += 6.0
    scene.tell(BatchesWanted(session, 2))

    followed = scene.tell(DeadlineReached(), after=5.0)

    counted = only(records(followed, DeathCounted))
    assert (counted.seq_no, counted.deaths) == ((), 1)

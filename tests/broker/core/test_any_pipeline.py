"""Any pipeline gives, under any timing and any mishap, exactly the rows of the sequential reference."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from distilmq.protocol.plan import Plan
from distilmq_broker.core.events import StopRequested
from distilmq_broker.core.facts import DeathCounted
from tests.broker.core.behaviour import Behaviour
from tests.broker.core.drawn import pipelines
from tests.broker.core.world import BARE, Faults, World
from tests.reference import Reference

DRAWN = settings(
    max_examples=300,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SEEDS = st.integers(0, 2**32)
FAULTS = st.builds(
    Faults,
    drops=st.integers(0, 4),
    copies=st.integers(0, 4),
    kills=st.integers(0, 2),
    restarts=st.integers(0, 3),
    commit_failures=st.integers(0, 1),
    cuts=st.integers(0, 1),
    often=st.sampled_from([0.005, 0.02, 0.1]),
)


def assert_like_reference(plan: Plan, behaviour: Behaviour, world: World) -> None:
    expected = Reference(plan, behaviour.process, world.choice).values
    assert {spec.name: world.values(spec.name) for spec in plan.steps} == expected


@settings(DRAWN, max_examples=100)
@given(pipelines(), SEEDS)
def test_rows_do_not_depend_on_timing(drawn: tuple[Plan, Behaviour], seed: int) -> None:
    plan, behaviour = drawn
    world = World(plan, behaviour, seed=seed)

    outcome = world.run()

    assert outcome == "done"
    assert_like_reference(plan, behaviour, world)


@DRAWN
@given(pipelines(), SEEDS, FAULTS)
def test_rows_survive_loss_and_death_and_restarts(drawn: tuple[Plan, Behaviour], seed: int, faults: Faults) -> None:
    plan, behaviour = drawn
    world = World(plan, behaviour, seed=seed, faults=faults)

    outcome = world.run()

    assert outcome == "done"
    assert_like_reference(plan, behaviour, world)


@settings(DRAWN, max_examples=150)
@given(pipelines(), SEEDS, st.integers(1, 8))
def test_what_a_host_lacks_a_package_for_is_done_on_another_and_counts_as_no_death(
    drawn: tuple[Plan, Behaviour], seed: int, needing: int
) -> None:
    plan, behaviour = drawn
    world = World(plan, replace(behaviour, needing=needing), seed=seed, bare=True)

    outcome = world.run()

    assert outcome == "done"
    assert_like_reference(plan, behaviour, world)
    # That no batch is recorded twice, the world sees to.
    assert {host for host, _ in world.refused} <= {BARE}
    assert not any(isinstance(fact, DeathCounted) for fact in world.journal.facts)


@DRAWN
@given(pipelines(), SEEDS, FAULTS, st.integers(1, 8))
def test_rows_survive_a_host_that_lacks_a_package_and_all_else(
    drawn: tuple[Plan, Behaviour], seed: int, faults: Faults, needing: int
) -> None:
    plan, behaviour = drawn
    world = World(plan, replace(behaviour, needing=needing), seed=seed, faults=faults, bare=True)

    outcome = world.run()

    assert outcome == "done"
    assert_like_reference(plan, behaviour, world)


@settings(DRAWN, max_examples=50)
@given(pipelines(most_rows=60), SEEDS, st.lists(st.integers(0, 59), min_size=1, max_size=3), st.integers(0, 2))
def test_rows_that_kill_are_buried_alone(
    drawn: tuple[Plan, Behaviour], seed: int, poison: list[int], restarts: int
) -> None:
    plan, behaviour = drawn
    first = plan.steps[0].name
    takers = [spec for spec in plan.steps if first in spec.predecessors]
    # What else takes such rows cannot be halved, and ends the run.
    assume(takers)
    assume(all(spec.kind == "normal" and len(spec.predecessors) == 1 for spec in takers))
    behaviour = replace(behaviour, poison=frozenset(f"{first}:{row}" for row in poison))
    world = World(plan, behaviour, seed=seed, faults=Faults(restarts=restarts))

    outcome = world.run()

    assert outcome == "done"
    assert_like_reference(plan, behaviour, world)


@settings(DRAWN, max_examples=50)
@given(pipelines(), SEEDS, st.lists(st.integers(1, 150), min_size=1, max_size=4), st.sampled_from([0.0, 120.0]))
def test_a_stopped_run_goes_on_where_it_stopped(
    drawn: tuple[Plan, Behaviour], seed: int, pauses: list[int], timeout: float
) -> None:
    plan, behaviour = drawn
    world = World(plan, behaviour, seed=seed)
    for pause in pauses:
        for _ in range(pause):
            if world.ended is None:
                world.act()
        if world.ended is None:
            world.say(StopRequested(timeout))
        assert world.run() in ("stopped", "done")
        recorded = dict(world.journal.rows)
        executed = len(world.executed)
        world.begin_again()
        assert recorded == world.journal.rows
        for _ in range(40):
            if world.ended is None:
                world.act()
        assert not any(key in recorded for key in world.executed[executed:])

    assert world.run() == "done"
    assert_like_reference(plan, behaviour, world)


@settings(DRAWN, max_examples=150)
@given(pipelines(), SEEDS, st.integers(0, 2))
def test_a_revised_run_has_the_rows_of_one_without_failures(
    drawn: tuple[Plan, Behaviour], seed: int, restarts: int
) -> None:
    plan, behaviour = drawn
    world = World(plan, replace(behaviour, failing=3), seed=seed)
    assert world.run() == "done"
    good = replace(behaviour, failing=0)

    world.revise(good)
    world.faults = Faults(restarts=restarts, often=0.02)

    assert world.run() == "done"
    assert_like_reference(plan, good, world)

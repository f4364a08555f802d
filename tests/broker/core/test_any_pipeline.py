"""Any pipeline gives, under any timing and any mishap, exactly the rows of the sequential reference."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distilmq.protocol.plan import Plan
from tests.broker.core.behaviour import Behaviour
from tests.broker.core.drawn import pipelines
from tests.broker.core.world import Faults, World
from tests.reference import Reference

_SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
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
    expected = Reference(plan, behaviour.process, behaviour.choose).values
    assert {spec.name: world.values(spec.name) for spec in plan.steps} == expected


@_SETTINGS
@given(pipelines(), st.integers(0, 2**32))
def test_rows_do_not_depend_on_timing(drawn: tuple[Plan, Behaviour], seed: int) -> None:
    plan, behaviour = drawn
    world = World(plan, behaviour, seed=seed)

    outcome = world.run()

    assert outcome == "done"
    assert_like_reference(plan, behaviour, world)
    assert len(world.executed) == len(set(world.executed))


@_SETTINGS
@given(pipelines(), st.integers(0, 2**32), FAULTS)
def test_rows_survive_loss_and_death_and_restarts(drawn: tuple[Plan, Behaviour], seed: int, faults: Faults) -> None:
    plan, behaviour = drawn
    world = World(plan, behaviour, seed=seed, faults=faults)

    outcome = world.run()

    assert outcome == "done"
    assert_like_reference(plan, behaviour, world)

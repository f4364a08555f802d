"""What follows from the plan alone."""

from __future__ import annotations

from distilmq_broker.core.topology import Topology
from tests.broker.core.scene import generator, global_step, plan_of, step


def topology(*steps, routed=()):
    return Topology(plan_of(*steps, routed=routed))


def manners(*steps) -> dict[str, str]:
    return {place.name: place.manner for place in topology(*steps).places}


def test_a_size_that_divides_its_upstream_s_is_cut_batch_by_batch() -> None:
    found = manners(
        generator(size=10), step("same", "load", size=10), step("half", "load", size=5), step("odd", "load", size=4)
    )

    assert found == {"load": "source", "same": "batchwise", "half": "batchwise", "odd": "stream"}


def test_behind_a_global_step_rows_are_streamed() -> None:
    found = manners(generator(), global_step("all", "load"), step("a", "all", size=1))

    assert found == {"load": "source", "all": "everything", "a": "stream"}


def test_the_fork_of_a_join_is_the_nearest_step_on_all_paths() -> None:
    places = topology(
        generator(),
        step("a", "load"),
        step("b", "a"),
        step("c", "a"),
        step("inner", "b", "c"),
        step("outer", "inner", "a"),
    ).places

    assert [(place.name, place.fork) for place in places if place.fork is not None] == [("inner", 1), ("outer", 1)]


def test_branches_of_two_generators_are_paired_by_position() -> None:
    assert manners(generator("x"), generator("y"), step("join", "x", "y"))["join"] == "positional"


def test_numbers_of_a_join_are_positions_in_its_fork() -> None:
    places = topology(
        generator(), step("a", "load"), step("b", "a"), step("join", "b", "load"), step("c", "join")
    ).places

    assert [place.depth for place in places] == [1, 2, 3, 2, 3]


def test_rows_between_a_fork_and_its_join_carry_labels() -> None:
    places = topology(
        generator(),
        step("a", "load"),
        step("b", "load"),
        step("join", "a", "b"),
        step("after", "join"),
        step("aside", "load"),
    ).places

    assert {place.name: place.labels for place in places if place.labels} == {"a": (0,), "b": (0,)}


def test_a_routed_fork_is_a_wall_up_to_its_join() -> None:
    places = topology(
        generator(),
        step("a", "load"),
        step("deep", "a"),
        step("b", "load"),
        step("join", "deep", "b"),
        step("after", "join"),
        routed=["load"],
    ).places

    assert {place.name: place.wall for place in places if place.wall} == {"a": 1, "deep": 1, "b": 1, "join": 1}


def test_a_routed_step_without_a_join_behind_it_is_no_wall() -> None:
    places = topology(generator(), step("a", "load"), step("b", "load"), routed=["load"]).places

    assert [place.wall for place in places] == [None, None, None]


def test_steps_that_rows_never_pass_between_are_apart() -> None:
    places = topology(generator("x"), step("a", "x"), generator("y"), step("b", "y")).places

    assert [place.component for place in places] == [0, 0, 1, 1]

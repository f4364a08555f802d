"""What a watching client is told of a run."""

from __future__ import annotations

from tests.broker.core.scene import Scene, batches, generator, plan_of, step


def known(scene: Scene) -> list[tuple[int, int]]:
    """Batches done, and known, of each step."""
    return [(each.batches, each.known_batches) for each in scene.core.progress(scene.now).steps]


def test_batches_are_counted_by_the_rows_that_a_generator_knows_of() -> None:
    scene = Scene(plan_of(generator(size=4, known_rows=10), step("a", "load", size=5)))
    asked = batches(scene.staff(), "load")
    before = known(scene)
    scene.done(asked[0], 4)

    assert before == [(0, 3), (0, 2)]
    assert known(scene) == [(1, 3), (0, 2)], "not those that it was asked for ahead"


def test_of_a_generator_that_knows_nothing_what_is_there_counts() -> None:
    scene = Scene(plan_of(generator(size=4), step("a", "load", size=2)))
    asked = batches(scene.staff(), "load")
    scene.done(asked[0], 4)

    assert known(scene) == [(1, 3), (0, 2)]


def test_a_step_that_is_done_has_no_batches_left() -> None:
    scene = Scene(plan_of(generator(size=4, known_rows=10), step("a", "load", size=5)))
    asked = batches(scene.staff(), "load")
    given = scene.done(asked[0], 4, last=True)  # fewer than it knew of
    scene.done(batches(given, "a")[0], 4)

    assert known(scene) == [(1, 1), (1, 1)]

"""Routing functions can be told from each other, sent, saved and loaded."""

from __future__ import annotations

import cloudpickle
import pytest

from distilmq.errors import DistilmqUserError
from distilmq.steps.routing import RoutingBatchFunction, routing_batch_function, sample_n_steps
from tests.sdk.steps.declared import building
from tests.sdk.steps.test_connecting import keep

STEPS = ["a", "b", "c"]


@routing_batch_function
def last_one(steps: list[str]) -> list[str]:
    return steps[-1:]


def first(count: int, *, reverse: bool = False) -> RoutingBatchFunction:
    @routing_batch_function(f"The first {count}.")
    def choose(steps: list[str]) -> list[str]:
        return (steps[::-1] if reverse else steps)[:count]

    return choose


def test_so_many_steps_are_sampled() -> None:
    samples = [sample_n_steps(2)(STEPS) for _ in range(50)]

    assert all(len(set(sample)) == 2 and set(sample) < set(STEPS) for sample in samples)
    assert len({tuple(sorted(sample)) for sample in samples}) == 3


def test_sampling_is_data() -> None:
    route = sample_n_steps(2)

    assert route.sample == 2
    assert route.dump("load") == {
        "step": "load",
        "description": "Sample 2 steps at random.",
        "type_info": {"module": "distilmq.steps.routing", "name": "sample_n_steps", "kwargs": {"n": 2}},
    }


def test_sampling_is_loaded_without_trust() -> None:
    loaded = RoutingBatchFunction.from_dict(sample_n_steps(2).dump())

    assert (loaded.sample, len(loaded(STEPS))) == (2, 2)


def test_what_distilabel_saved_is_loaded() -> None:
    saved = {
        "step": "load",
        "type_info": {
            "module": "distilabel.pipeline.routing_batch_function",
            "name": "sample_n_steps",
            "kwargs": {"n": 1},
        },
    }

    assert RoutingBatchFunction.from_dict(saved).sample == 1


def test_a_function_of_a_module_is_found_by_name() -> None:
    dumped = last_one.dump("load")

    with pytest.raises(DistilmqUserError, match="trust_remote_code=True"):
        RoutingBatchFunction.from_dict(dumped)
    assert RoutingBatchFunction.from_dict(dumped, trust_remote_code=True)(STEPS) == ["c"]


def test_a_function_of_a_factory_is_made_again() -> None:
    dumped = first(2, reverse=True).dump("load")

    loaded = RoutingBatchFunction.from_dict(dumped, trust_remote_code=True)

    assert dumped["type_info"]["kwargs"] == {"count": 2, "reverse": True}
    assert (loaded(STEPS), loaded.description) == (["c", "b"], "The first 2.")


def test_a_function_that_cannot_be_found_again_cannot_be_saved() -> None:
    def outer(unnameable: object) -> RoutingBatchFunction:
        return routing_batch_function(lambda steps: steps)

    with pytest.raises(DistilmqUserError, match="cannot be saved: it can only be found"):
        outer(object()).dump()


def test_a_dump_without_origin_is_refused_in_known_words() -> None:
    with pytest.raises(DistilmqUserError, match="was created without a factory function"):
        RoutingBatchFunction.from_dict({"step": "load"})


def test_a_bare_function_travels_without_its_steps() -> None:
    with building():
        source = keep("source")
        route = first(1)
        source >> route >> [keep("a"), keep("b")]

    received = cloudpickle.loads(cloudpickle.dumps(route))

    assert received(STEPS) == ["a"]
    assert received._step is None
    assert route._step is source


def builds_a_list() -> list[RoutingBatchFunction]:
    @routing_batch_function
    def inner(steps: list[str]) -> list[str]:
        return steps

    return [inner]


def test_a_function_that_gives_no_routing_function_is_named() -> None:
    [route] = builds_a_list()

    with pytest.raises(DistilmqUserError, match="builds_a_list' gave a 'list', not a routing function"):
        RoutingBatchFunction.from_dict(route.dump("load"), trust_remote_code=True)

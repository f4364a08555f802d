"""What the autoscaler does about batches that wait, and about workers that have nothing to do."""

from __future__ import annotations

from collections import Counter

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.protocol.messages.slots import Offer
from distilmq_broker.front.core.events import HostUnfit
from distilmq_broker.scaling.core.commands import Cancel, Drain, Launch
from distilmq_broker.scaling.core.kinds import Kind
from distilmq_broker.scaling.core.policy import ScalingPolicy
from tests.broker.front.core.hosting import need, offer
from tests.broker.scaling.core.scaled import ScaledWorld

PLAIN = offer(2)


def fixed(kind: Offer, **policy: float) -> ScaledWorld:
    """Every worker is of one kind."""
    return ScaledWorld(
        ScalingPolicy("auto", **{"most": 3, **policy}),  # type: ignore[arg-type]  # numbers of both kinds
        lambda need: Kind(kind) if need is None or Kind(kind).suits(need) else None,
    )


def tailored(**policy: float) -> ScaledWorld:
    """Every worker is what one process of a need takes."""
    return ScaledWorld(
        ScalingPolicy("auto", **{"most": 3, **policy}),  # type: ignore[arg-type]  # ditto
        lambda need: Kind(offer(1)) if need is None else Kind(offer(1, resources=need.resources), need.steps),
    )


def placed(**policy: float) -> ScaledWorld:
    """Every worker takes one process: of any step, or what a need asks for, and then of no other step."""
    return ScaledWorld(
        ScalingPolicy("auto", **{"most": 1, **policy}),  # type: ignore[arg-type]  # ditto
        lambda need: (
            Kind(offer(1, resources=need.resources), need.steps) if need and need.resources else Kind(offer(1))
        ),
    )


def test_batches_that_wait_have_workers_launched_up_to_the_most() -> None:
    scaled = fixed(PLAIN)

    scaled.ask("r", [need("a", 10, work=10)])
    scaled.live(30)

    assert len(scaled.ours()) == 3
    assert len(scaled.world.running("r")) == 6


def test_no_more_workers_are_launched_than_there_are_batches_for() -> None:
    scaled = fixed(PLAIN)

    scaled.ask("r", [need("a", 10, work=3)])
    scaled.live(30)

    assert len(scaled.ours()) == 2


def test_what_was_launched_and_has_not_joined_is_not_launched_again() -> None:
    scaled = fixed(PLAIN)

    scaled.ask("r", [need("a", 2, work=2)])
    scaled.live(30, joining=False)

    assert scaled.launches == ["auto-1"]


def test_room_on_workers_of_others_is_used_first_and_they_are_left_alone() -> None:
    scaled = fixed(PLAIN, idle=5)
    scaled.world.join("by-hand", offer(4))

    scaled.ask("r", [need("a", 4, work=4)])
    scaled.live(20)
    scaled.ask("r", [])
    commands = scaled.live(20)

    assert scaled.launches == []
    assert commands == []


def test_workers_that_have_nothing_to_do_leave_down_to_the_least() -> None:
    scaled = fixed(PLAIN, least=1, idle=10)
    scaled.ask("r", [need("a", 6, work=6)])
    scaled.live(20)

    scaled.ask("r", [])
    soon = scaled.live(8)
    scaled.live(30)

    assert soon == []
    assert len(scaled.ours()) == 1


def test_the_least_is_there_without_any_run() -> None:
    scaled = fixed(PLAIN, least=2)

    scaled.live(5)

    assert len(scaled.ours()) == 2


def test_a_worker_with_a_process_is_kept_even_if_no_batch_waits_at_the_moment() -> None:
    scaled = fixed(PLAIN, idle=5)
    scaled.ask("r", [need("a", 1, work=1)])
    scaled.live(10)

    scaled.ask("r", [need("a", 1, work=0)])
    commands = scaled.live(30)

    assert commands == []
    assert scaled.served() == {("r", "a")}


def test_launches_that_fail_are_tried_again_ever_more_rarely() -> None:
    scaled = fixed(PLAIN, most=1, first_backoff=10)
    scaled.ask("r", [need("a")])
    at: list[float] = []

    for _ in range(100):
        for command in scaled.look():
            assert isinstance(command, Launch)
            at.append(scaled.world.now)
            scaled.fail(command.name)
        scaled.pass_time(1.0)

    assert at == [0.0, 10.0, 30.0, 70.0]


def test_one_that_joins_ends_the_waiting() -> None:
    scaled = fixed(PLAIN, most=2, first_backoff=10, cooldown=1)
    scaled.ask("r", [need("a", 4, work=4)])
    scaled.look()
    scaled.fail("auto-1")
    scaled.join("auto-2")

    scaled.live(20)

    assert scaled.launches == ["auto-1", "auto-2", "auto-3"]
    assert len(scaled.world.running("r")) == 4


def test_one_that_does_not_join_in_time_has_failed() -> None:
    scaled = fixed(PLAIN, most=1, join_within=60, first_backoff=10)
    scaled.ask("r", [need("a")])

    scaled.live(75, joining=False)

    assert scaled.launches == ["auto-1", "auto-2"]


def test_one_that_nobody_needs_any_more_before_it_has_joined_is_cancelled() -> None:
    scaled = fixed(PLAIN, idle=10)
    scaled.ask("r", [need("a")])
    scaled.live(5, joining=False)

    scaled.ask("r", [])
    commands = scaled.live(15, joining=False)

    assert commands == [Cancel("auto-1")]


def test_each_need_gets_the_kind_of_worker_that_it_asks_for() -> None:
    scaled = tailored()

    scaled.ask("r", [need("a"), need("b", resources={"special": 1})])
    scaled.live(10)

    assert [host.offer.resources for host in scaled.ours()] == [{"special": 1}, {}]
    assert scaled.served() == {("r", "a"), ("r", "b")}


def test_a_need_that_no_worker_would_serve_launches_none_and_is_told_once() -> None:
    scaled = fixed(PLAIN)

    scaled.ask("r", [need("a", gpus=1)])
    scaled.live(10)

    assert scaled.launches == []
    assert scaled.unserved == [("r", "a")]


def test_a_machine_that_has_less_than_was_thought_is_not_launched_again_for_what_it_cannot_do() -> None:
    scaled = fixed(offer(1, memory=2**60), idle=5)
    scaled.ask("r", [need("a", memory=1000)])
    (launch,) = scaled.look()
    assert isinstance(launch, Launch)
    scaled.coming[launch.name] = Kind(offer(1, memory=100))

    scaled.live(60)

    assert scaled.launches == ["auto-1"]
    assert scaled.ours() == []
    assert scaled.unserved == [("r", "a")]


def test_a_need_that_nothing_serves_has_room_made_for_it_when_there_are_as_many_workers_as_may_be() -> None:
    scaled = tailored(most=1, turn=20)
    scaled.ask("r", [need("a")])
    scaled.live(5)

    scaled.ask("r", [need("a"), need("b", resources={"special": 1})])
    early = scaled.live(10)
    scaled.live(20)

    assert early == []
    assert scaled.served() == {("r", "b")}


def test_room_that_is_made_for_a_need_goes_to_it_and_not_to_those_that_have_a_worker_of_use() -> None:
    scaled = placed(turn=10)
    scaled.ask("special", [need("a", resources={"special": 1})])
    scaled.ask("plain", [need("a"), need("b")])
    scaled.live(30)

    served: set[tuple[str, str]] = set()
    for _ in range(60):
        scaled.live(1)
        served |= scaled.served()

    assert served == {("special", "a"), ("plain", "a"), ("plain", "b")}


def test_a_worker_of_the_least_stays_until_another_one_has_joined() -> None:
    scaled = placed(least=1, most=2, idle=5)
    scaled.live(5)

    scaled.ask("r", [need("a", 2, work=2, resources={"special": 1})])
    coming = scaled.live(40, joining=False)
    scaled.live(10)

    assert coming == [Launch("auto-2", Kind(offer(1, resources={"special": 1}), ("a",)))]
    assert scaled.world.needs_of("r") == ["a", "a"]


def test_a_worker_of_the_least_does_not_make_room_while_another_one_is_coming() -> None:
    scaled = placed(least=1, most=2, turn=20)
    scaled.live(5)

    scaled.ask("r", [need("a", resources={"special": 2}), need("b", resources={"special": 1})])
    coming = scaled.live(15, joining=False)
    scaled.live(20)

    assert [command for command in coming if isinstance(command, Drain)] == []
    assert scaled.world.needs_of("r") == ["a", "b"]


def test_what_was_launched_for_a_need_that_is_gone_is_not_waited_for_as_one_of_the_least() -> None:
    scaled = placed(least=1, idle=5)
    scaled.joins = lambda kind: not kind.offer.resources
    scaled.ask("r", [need("a", resources={"special": 1})])
    scaled.live(3)

    scaled.ask("r", [])
    scaled.live(20)

    assert scaled.launches == ["auto-1", "auto-2"]
    assert len(scaled.ours()) == 1


def test_where_the_least_is_the_most_a_worker_makes_room_for_one_that_a_need_waits_for() -> None:
    scaled = placed(least=1, most=1)
    scaled.live(5)

    scaled.ask("r", [need("a", resources={"special": 1})])
    scaled.live(10)

    assert scaled.served() == {("r", "a")}


def test_each_worker_has_its_turn_before_it_makes_room_however_long_others_have_waited() -> None:
    scaled = tailored(most=1, turn=20, cooldown=1)
    scaled.ask("r", [need(name, resources={name: 1}) for name in "abcd"])
    seconds = Counter[str]()

    for _ in range(200):
        scaled.live(1)
        seconds.update(host.worker for host in scaled.ours() if host.processes)

    *past, _ = seconds.values()
    assert len(past) >= 5
    assert min(past) >= 20


def test_a_need_whose_launches_fail_lets_others_pass() -> None:
    scaled = tailored(most=1, longest_backoff=10)
    scaled.ask("r", [need("a", resources={"special": 1})])
    scaled.live(1, joining=False)
    scaled.ask("r", [need("a", resources={"special": 1}), need("b")])

    while not scaled.served() and scaled.world.now < 60:
        for name, kind in list(scaled.coming.items()):
            (scaled.fail if kind.offer.resources else scaled.join)(name)
        scaled.live(1, joining=False)

    assert scaled.served() == {("r", "b")}


def test_a_need_whose_worker_never_joins_lets_others_pass() -> None:
    scaled = tailored(most=1, turn=10)
    scaled.ask("r", [need("a", resources={"special": 1})])
    scaled.live(1, joining=False)
    scaled.ask("r", [need("a", resources={"special": 1}), need("b")])

    while not scaled.served() and scaled.world.now < 60:
        for name in [name for name, kind in scaled.coming.items() if not kind.offer.resources]:
            scaled.join(name)
        scaled.live(1, joining=False)

    assert scaled.served() == {("r", "b")}


def test_a_need_that_waits_for_something_else_has_no_worker_launched_or_kept() -> None:
    scaled = fixed(PLAIN, idle=5)
    scaled.ask("r", [need("a", waits=True)])
    scaled.live(10)
    before = list(scaled.launches)

    scaled.ask("r", [need("a")])
    scaled.live(10)

    assert before == []
    assert scaled.served() == {("r", "a")}


def test_a_worker_that_is_not_seen_to_leave_is_told_again() -> None:
    scaled = fixed(PLAIN, idle=5)
    scaled.ask("r", [need("a")])
    scaled.live(10)
    scaled.ask("r", [])

    commands = []
    for _ in range(20):
        commands += scaled.look()
        # What it was told is lost.
        scaled.world.hosts["auto-1-1"].leaving = False
        scaled.pass_time(1.0)

    assert commands == [Drain("auto-1-1")] * 3


@pytest.mark.parametrize(("least", "most"), [(2, 1), (0, 0), (-1, 1)])
def test_bounds_that_leave_nothing_between_them_are_refused(least: int, most: int) -> None:
    with pytest.raises(DistilmqUserError, match=f"--min {least} and --max {most} make no sense"):
        ScalingPolicy("auto", least=least, most=most)


def test_a_worker_that_cannot_load_a_step_is_of_no_use_to_it() -> None:
    scaled = tailored(most=1, turn=20, cooldown=1)
    scaled.ask("r", [need("a")])
    scaled.live(3)
    scaled.ask("r", [need("a"), need("b", cpus=2)])

    scaled.world.handle(HostUnfit("r", "auto-1-1", "a", "lacks a package"))
    scaled.live(10)
    other = scaled.served()
    scaled.ask("r", [need("a")])
    scaled.live(60)

    assert other == {("r", "b")}
    assert scaled.served() == {("r", "a")}


def test_where_no_worker_of_a_kind_can_load_a_step_they_are_tried_ever_later() -> None:
    scaled = fixed(PLAIN, most=20, cooldown=1, first_backoff=10, idle=1000)
    scaled.ask("r", [need("a")])
    at: list[float] = []

    while scaled.world.now < 100:
        before = len(scaled.launches)
        scaled.live(1)
        at += [scaled.world.now - 1] * (len(scaled.launches) - before)
        for host in scaled.ours():
            scaled.world.handle(HostUnfit("r", host.worker, "a", "lacks a package"))

    assert at == [0.0, 11.0, 32.0, 73.0]


def test_one_that_cannot_load_a_step_makes_room_for_one_that_can_when_it_had_its_turn() -> None:
    policy = ScalingPolicy("auto", 0, 1, turn=10)
    scaled = ScaledWorld(policy, lambda need: Kind(offer(1, cpus=1 if need is None else need.cpus)))
    scaled.ask("r", [need("b", cpus=4)])
    scaled.live(3)

    scaled.ask("r", [need("a", cpus=2), need("b", cpus=4)])
    scaled.world.handle(HostUnfit("r", "auto-1-1", "a", "lacks a package"))
    scaled.live(20)

    assert scaled.served() == {("r", "a")}

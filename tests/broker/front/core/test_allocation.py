"""Slots go to runs in turn, by weight, where they fit; nothing is granted twice, and nobody starves."""

from __future__ import annotations

from distilmq_broker.front.core.commands import TellHost
from distilmq_broker.front.core.events import HostUnfit, NeedsTold, RunGone
from distilmq_broker.front.core.turns import TURN
from tests.broker.front.core.hosting import LIVENESS, World, need, offer


def test_a_run_gets_what_it_needs() -> None:
    world = World()
    world.join("h", offer(4))

    world.handle(NeedsTold("r", (need("a"), need("b", 2))))
    world.settle()

    assert world.needs_of("r") == ["a", "b", "b"]
    assert (world.told["r"].counts, world.unmet("r")) == ({"a": 1, "b": 2}, ())


def test_hosts_may_come_before_and_after_the_run() -> None:
    world = World()
    world.join("early", offer())
    world.handle(NeedsTold("r", (need("a", 2),)))

    world.join("late", offer())
    world.settle()

    assert world.needs_of("r") == ["a", "a"]


def test_every_step_gets_a_process_before_any_gets_two() -> None:
    world = World()
    world.join("h", offer(3))

    world.handle(NeedsTold("r", (need("a", 5), need("b", 5), need("c", 5))))
    world.settle()

    assert world.needs_of("r") == ["a", "b", "c"]


def test_slots_are_shared_by_weight() -> None:
    world = World()
    world.handle(NeedsTold("heavy", (need("a", 9),), weight=2.0))
    world.handle(NeedsTold("light", (need("a", 9),), weight=1.0))

    world.join("h", offer(6))
    world.settle()

    assert (len(world.running("heavy")), len(world.running("light"))) == (4, 2)


def test_gpus_are_granted_once_and_named() -> None:
    world = World()
    world.join("h", offer(8, gpus=["0", "1", "2"]))

    world.handle(NeedsTold("r", (need("big", gpus=2), need("small", 5, gpus=1), need("none"))))
    world.settle()

    assert sorted(grant.gpus for grant in world.running("r")) == [(), ("0", "1"), ("2",)]


def test_what_needs_no_gpu_leaves_hosts_with_gpus_free() -> None:
    world = World()
    world.join("with", offer(2, gpus=["0", "1"]))
    plain = world.join("without", offer(2))

    world.handle(NeedsTold("r", (need("a", 2),)))
    world.settle()

    assert len(plain.processes) == 2


def test_labels_and_steps_of_a_host_are_respected() -> None:
    world = World()
    here = world.join("here", offer(9, labels={"zone": "eu"}))
    picky = world.join("picky", offer(9), steps=("b",))

    world.handle(NeedsTold("r", (need("a", 2, labels={"zone": "eu"}), need("b", 2), need("c", labels={"zone": "us"}))))
    world.settle()

    assert [grant.need for grant in picky.processes.values() if grant.need != "b"] == []
    assert [grant.need for grant in here.processes.values()].count("a") == 2
    assert [unmet.reason for unmet in world.unmet("r")] == ["needs a worker with the label zone=us, and none has it"]


def test_why_a_need_is_not_met_is_told() -> None:
    world = World()
    world.handle(NeedsTold("r", (need("a"),)))
    nobody = world.unmet("r")[0].reason

    world.join("h", offer(1, gpus=["0"], resources={"license": 1}), steps=("a", "g", "m", "l", "p"))
    asked = (
        need("a"),
        need("x"),
        need("g", gpus=2),
        need("m", memory=2**31),
        need("l", resources={"license": 2}),
        need("p"),
    )
    world.handle(NeedsTold("r", asked))

    assert nobody.startswith("no worker is there")
    assert {unmet.need: unmet.reason for unmet in world.unmet("r")} == {
        "x": "no worker takes step x (see its `--steps`)",
        "g": "needs 2 GPUs, and no worker has as many",
        "m": "needs 2.0 GiB of memory, and no worker has as much",
        "l": "needs 2 of the resource license, and no worker has as much",
        "p": "waits for a free slot",
    }


def test_what_is_not_needed_any_more_is_taken_back_and_given_to_others() -> None:
    world = World()
    world.join("h", offer(2))
    world.handle(NeedsTold("first", (need("a", 2),)))
    world.settle()

    world.handle(NeedsTold("second", (need("b", 2),)))
    world.handle(NeedsTold("first", ()))
    world.settle()

    assert (world.running("first"), world.needs_of("second")) == ([], ["b", "b"])


def test_a_slot_is_not_granted_again_before_its_process_is_gone() -> None:
    world = World()
    host = world.join("h", offer(1))
    world.handle(NeedsTold("first", (need("a"),)))
    world.settle()
    world.handle(NeedsTold("second", (need("b"),)))

    world.handle(RunGone("first"))
    world.deliver(host)
    world.beat(host)
    still = list(world.allocation.grants_of(host.session))
    (ending,) = host.ending
    host.end(ending)
    world.beat(host)
    world.deliver(host)

    assert still == []
    assert world.needs_of("second") == ["b"]


def test_a_process_that_left_by_its_own_will_is_granted_anew() -> None:
    world = World()
    host = world.join("h", offer(1))
    world.handle(NeedsTold("r", (need("a"),)))
    world.settle()
    (before,) = host.processes

    host.end(before)
    world.settle()

    assert list(host.processes) != [before]
    assert world.needs_of("r") == ["a"]


def test_a_list_that_is_lost_is_sent_again_at_the_next_beat() -> None:
    world = World()
    host = world.join("h", offer(1))
    world.deliver(host)
    world.handle(NeedsTold("r", (need("a"),)))
    host.inbox.clear()

    world.beat(host)
    world.deliver(host)

    assert world.needs_of("r") == ["a"]


def test_a_host_that_has_all_it_shall_have_is_told_so_now_and_then() -> None:
    world = World()
    host = world.join("h", offer(1))
    world.handle(NeedsTold("r", (need("a"),)))
    world.settle()

    at_once = world.handle(host.beat())
    world.pass_time(LIVENESS / 2)
    later = world.handle(host.beat())

    assert at_once == []
    assert later == [TellHost(host.session, host.heard, tuple(host.processes.values()), "h")]


def test_a_beat_that_crosses_a_list_takes_nothing_away() -> None:
    world = World()
    host = world.join("h", offer(1))
    world.deliver(host)
    beat = host.beat()
    world.handle(NeedsTold("r", (need("a"),)))
    granted = list(world.allocation.grants_of(host.session))

    world.handle(beat)

    assert list(world.allocation.grants_of(host.session)) == granted


def test_a_silent_host_is_lost_and_its_work_goes_elsewhere() -> None:
    world = World()
    world.join("gone", offer(1))
    world.handle(NeedsTold("r", (need("a"),)))
    world.settle()
    other = world.join("other", offer(1))
    frozen = world.hosts.pop("gone")

    for _ in range(int(LIVENESS) + 1):
        world.pass_time(1.0)
        world.beat(other)
    world.settle()
    world.hosts["gone"] = frozen
    world.beat(frozen)
    world.settle()

    assert world.lost == ["gone"]
    assert list(other.processes) != []
    assert world.needs_of("r") == ["a"]


def test_a_leaving_host_gets_nothing_and_its_work_goes_elsewhere_at_once() -> None:
    world = World()
    leaving = world.join("leaving", offer(2))
    world.handle(NeedsTold("r", (need("a"),)))
    world.settle()
    other = world.join("other", offer(2))

    leaving.leaving = True
    world.beat(leaving)
    world.deliver(other)

    assert [grant.need for grant in other.processes.values()] == ["a"]
    assert list(world.allocation.grants_of(leaving.session)) == []


def test_a_restarted_broker_takes_over_what_hosts_have() -> None:
    world = World()
    host = world.join("h", offer(2))
    world.handle(NeedsTold("r", (need("a"), need("b"))))
    world.settle()
    before = list(host.processes)

    world.restart(settling=5.0)
    world.beat(host)
    world.deliver(host)
    world.pass_time(1.0)
    world.handle(NeedsTold("r", (need("a"), need("b"))))
    world.settle(8)

    assert list(host.processes) == before


def test_a_restarted_broker_grants_nothing_before_hosts_could_come_back() -> None:
    world = World()
    host = world.join("h", offer(1))
    world.handle(NeedsTold("r", (need("a"),)))
    world.settle()
    other = world.join("other", offer(1))
    world.deliver(other)

    world.restart(settling=5.0)
    world.beat(other)
    world.deliver(other)
    world.handle(NeedsTold("r", (need("a"),)))
    world.pass_time(4.0)
    world.beat(host)
    world.settle(8)

    assert (len(host.processes), len(other.processes)) == (1, 0)


def test_processes_of_a_run_that_nobody_speaks_for_end_after_a_restart() -> None:
    world = World()
    host = world.join("h", offer(1))
    world.handle(NeedsTold("r", (need("a"),)))
    world.settle()

    world.restart(settling=5.0)
    world.beat(host)
    world.settle(12)

    assert host.processes == {}


def test_a_host_that_cannot_load_a_step_gets_no_more_of_it() -> None:
    world = World()
    world.join("bad", offer(2))
    world.handle(NeedsTold("r", (need("a"), need("b"))))
    world.settle()

    world.handle(HostUnfit("r", "bad", "a", "no module named x"))
    world.settle()
    alone = world.unmet("r")
    world.join("good", offer(2))
    world.settle()

    assert [(unmet.need, unmet.refused) for unmet in alone] == [("a", True)]
    assert "no module named x" in alone[0].reason
    assert [grant.need for grant in world.hosts["good"].processes.values()] == ["a"]
    assert [grant.need for grant in world.hosts["bad"].processes.values()] == ["b"]
    assert world.allocation.refusals("r") == [("bad", "a", "no module named x")]


def test_a_need_that_waits_keeps_what_it_has_and_gets_no_more() -> None:
    world = World()
    world.join("h", offer(4))
    world.handle(NeedsTold("r", (need("a"), need("b"))))
    world.settle()

    world.restart(settling=5.0)
    world.handle(NeedsTold("r", (need("a", 3, waits=True), need("b"), need("c", waits=True))))
    world.settle(8)

    assert world.needs_of("r") == ["a", "b"]
    assert world.unmet("r") == ()


def test_a_run_without_a_slot_gets_one_of_a_run_with_several() -> None:
    world = World()
    world.join("h", offer(3))
    world.handle(NeedsTold("first", (need("a", 3),)))
    world.settle()

    world.handle(NeedsTold("second", (need("b", 3),)))
    world.settle()

    assert (len(world.running("first")), world.needs_of("second")) == (2, ["b"])


def test_the_last_slot_of_a_run_is_taken_only_when_it_had_its_turn() -> None:
    world = World()
    world.join("h", offer(1))
    for run in ("first", "second", "third"):
        world.handle(NeedsTold(run, (need("a"),)))
    served: list[str] = []

    for _ in range(int(6 * TURN)):
        world.settle(1)
        now = [run for run in ("first", "second", "third") if world.running(run)]
        if now and served[-1:] != now:
            served += now

    assert served[:3] == ["first", "second", "third"]
    assert len(served) <= 7


def test_idle_processes_make_way_for_a_step_of_their_run_that_has_work() -> None:
    world = World()
    world.join("h", offer(1))
    world.handle(NeedsTold("r", (need("load", work=1), need("ask", work=0))))
    world.settle()
    first = world.needs_of("r")

    world.handle(NeedsTold("r", (need("load", work=0), need("ask", work=7))))
    world.settle()

    assert (first, world.needs_of("r")) == (["load"], ["ask"])


def test_a_host_started_again_under_its_name_has_nothing_of_before() -> None:
    world = World()
    world.join("h", offer(1))
    world.handle(NeedsTold("r", (need("a"),)))
    world.settle()

    again = world.join("h", offer(1))
    world.settle()

    assert world.lost == ["h"]
    assert [grant.need for grant in again.processes.values()] == ["a"]


def test_two_hosts_of_one_name_both_stay_and_the_second_goes_by_another() -> None:
    world = World()
    first = world.join("h", offer(1))
    world.handle(NeedsTold("r", (need("a"), need("b"))))
    world.settle()

    second = world.join_beside(first, offer(1))
    for _ in range(5):
        world.settle()

    assert world.lost == []
    assert (first.worker, second.worker) == ("h", f"h-{second.session}")
    assert [grant.need for host in (first, second) for grant in host.processes.values()] == ["a", "b"]


def test_a_list_names_itself_in_beats() -> None:
    world = World()
    host = world.join("h", offer(1))

    (told,) = [command for command in host.inbox if isinstance(command, TellHost)]
    world.deliver(host)

    assert host.beat().heard == told.id != ""


def test_a_run_without_a_slot_takes_no_more_than_one() -> None:
    world = World()
    world.join("h", offer(4))
    world.handle(NeedsTold("first", (need("a", 4),)))
    world.settle()

    world.handle(NeedsTold("second", (need("b"), need("c"), need("d"))))
    world.settle()

    assert (len(world.running("first")), len(world.running("second"))) == (3, 1)


def test_a_need_that_keeps_what_it_has_loses_nothing_and_gets_nothing() -> None:
    world = World()
    host = world.join("h", offer(4))
    world.handle(NeedsTold("r", (need("a", 2),)))
    world.settle()
    world.restart(settling=5.0)
    world.handle(host.hello())

    world.handle(NeedsTold("r", (need("a", 3, waits=True), need("b", 3, waits=True))))
    world.settle(8)
    kept = world.needs_of("r")
    world.handle(NeedsTold("r", (need("a", 3), need("b", 1))))
    world.settle()

    assert kept == ["a", "a"]
    assert world.needs_of("r") == ["a", "a", "a", "b"]


def test_a_host_that_is_started_again_is_tried_again_with_what_it_could_not_load() -> None:
    world = World()
    first = world.join("h", offer(2))
    world.handle(NeedsTold("r", (need("a", 2),)))
    world.handle(HostUnfit("r", "h", "a", "lacks a package"))
    world.settle()
    refused = world.needs_of("r")

    world.leave(first)
    world.join("h", offer(2))
    world.settle()

    assert (refused, world.needs_of("r")) == ([], ["a", "a"])

"""Whatever comes, is lost, doubled or late: no host is over its offer, and nobody whose need fits starves."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.protocol.messages.slots import Need, Offer
from distilmq_broker.front.core.events import HostUnfit, NeedsTold, RunGone
from distilmq_broker.front.core.turns import TURN
from tests.broker.front.core.hosting import LIVENESS, SomeHost, World, need, offer

RUNS = ("r0", "r1", "r2")
OFFERS = st.builds(
    lambda slots, gpus, cpus, pens, zone: offer(
        slots, gpus=[str(gpu) for gpu in range(gpus)], cpus=cpus, resources={"pen": pens}, labels={"zone": zone}
    ),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 6),
    st.integers(0, 2),
    st.sampled_from(["eu", "us"]),
)
ASKED = st.fixed_dictionaries(
    {
        "count": st.integers(0, 4),
        "work": st.integers(0, 2),
        "gpus": st.integers(0, 2),
        "cpus": st.integers(0, 4),
        "resources": st.sampled_from([{}, {"pen": 1}, {"pen": 2}]),
        "labels": st.sampled_from([{}, {}, {"zone": "eu"}]),
    }
)


@st.composite
def needs(draw: st.DrawFn, least: int = 0) -> tuple[Need, ...]:
    """Of one run; each with at least so many processes, and so much work for them."""
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, min_size=least))
    asked = [draw(ASKED) for _ in names]
    return tuple(
        need(name, **{**fields, "count": max(least, fields["count"]), "work": max(least, fields["work"])})
        for name, fields in zip(names, asked, strict=True)
    )


class Chaos:
    """One event after the other, each drawn."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.world = World(settling=draw(st.sampled_from([0.0, 3.0])))
        self.needs: dict[str, tuple[Need, ...]] = {}

    def happen(self) -> None:
        events: list[Callable[[], None]] = [
            self.join,
            self.deliver,
            self.beat,
            self.end,
            self.lose,
            self.ask,
            self.pass_time,
            self.restart,
            self.freeze,
            self.forget,
            self.refuse,
        ]
        self.draw(st.sampled_from(events))()
        for host in self.world.hosts.values():
            host.check()

    def host(self) -> SomeHost | None:
        hosts = list(self.world.hosts.values())
        return self.draw(st.sampled_from(hosts)) if hosts else None

    def join(self) -> None:
        name = self.draw(st.sampled_from(["h0", "h1", "h2"]))
        self.world.join(name, self.draw(OFFERS))

    def deliver(self) -> None:
        if (host := self.host()) is not None:
            self.world.deliver(host, most=self.draw(st.integers(1, 3)))

    def beat(self) -> None:
        if (host := self.host()) is not None:
            self.world.beat(host)

    def end(self) -> None:
        host = self.host()
        if host is not None and host.processes:
            host.end(self.draw(st.sampled_from(list(host.processes))))

    def lose(self) -> None:
        host = self.host()
        if host is not None and host.inbox:
            del host.inbox[self.draw(st.integers(0, len(host.inbox) - 1))]

    def ask(self) -> None:
        run = self.draw(st.sampled_from(RUNS))
        self.needs[run] = self.draw(needs())
        self.world.handle(NeedsTold(run, self.needs[run], self.draw(st.sampled_from([1.0, 3.0]))))

    def forget(self) -> None:
        run = self.draw(st.sampled_from(RUNS))
        self.needs.pop(run, None)
        self.world.handle(RunGone(run))

    def pass_time(self) -> None:
        self.world.pass_time(self.draw(st.sampled_from([0.1, 2.0])))

    def freeze(self) -> None:
        """Nobody is heard of for so long that all are given up."""
        self.world.pass_time(LIVENESS + 1)

    def restart(self) -> None:
        self.world.restart(settling=3.0)

    def refuse(self) -> None:
        host = self.host()
        if host is not None and self.needs:
            self.world.handle(HostUnfit(self.draw(st.sampled_from(list(self.needs))), host.worker, "a", "no"))

    def calm(self, rounds: int, *, apart: float = 1.0) -> None:
        """No event any more: everybody beats, speaks and obeys."""
        for _ in range(rounds):
            for run, wanted in self.needs.items():
                self.world.handle(NeedsTold(run, wanted))
            self.world.settle(1, apart=apart)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_host_ever_runs_more_than_it_offered(data: st.DataObject) -> None:
    chaos = Chaos(data.draw)

    for _ in range(data.draw(st.integers(1, 60))):
        chaos.happen()


@settings(max_examples=100, deadline=None)
@given(st.lists(OFFERS, min_size=1, max_size=2), st.tuples(needs(least=1), needs(least=1), needs(least=1)))
def test_a_run_whose_need_fits_somewhere_has_its_turn(
    offers: list[Offer], wanted: tuple[tuple[Need, ...], ...]
) -> None:
    world = World()
    for number, offered in enumerate(offers):
        world.join(f"h{number}", offered)
    for run, told in zip(RUNS, wanted, strict=True):
        world.handle(NeedsTold(run, told))
    served = dict.fromkeys(RUNS, False)

    for _ in range((len(RUNS) + 1) * int(TURN / 5.0)):
        world.settle(1, apart=5.0)
        for run in RUNS:
            served[run] |= bool(world.running(run))

    for run, told in zip(RUNS, wanted, strict=True):
        fits = any(fits_alone(asked, host) for asked in told for host in world.hosts.values())
        assert served[run] or not fits, f"{run} starves"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_when_all_is_calm_nothing_is_granted_that_is_not_needed(data: st.DataObject) -> None:
    chaos = Chaos(data.draw)
    for _ in range(data.draw(st.integers(1, 40))):
        chaos.happen()

    chaos.calm(20)
    # Needs of a run that share slots take turns: one may just have been told to go.
    for host in list(chaos.world.hosts.values()):
        chaos.world.deliver(host)

    for run in RUNS:
        counts = {asked.id: asked.count for asked in chaos.needs.get(run, ())}
        running = chaos.world.needs_of(run)
        assert all(running.count(name) <= counts.get(name, 0) for name in running)
        assert len(running) == chaos.world.allocation.processes(run)


def fits_alone(asked: Need, host: SomeHost) -> bool:
    has = host.offer
    return (
        asked.cpus <= has.cpus
        and asked.gpus <= len(has.gpus)
        and all(has.resources.get(name, 0) >= amount for name, amount in asked.resources.items())
        and all(has.labels.get(name) == value for name, value in asked.labels.items())
    )

"""Whatever runs want, and however launches go: the bounds hold, nobody starves for ever, and in the end all leave."""

from __future__ import annotations

import math
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from distilmq.protocol.messages.slots import Need
from distilmq_broker.scaling.core.kinds import Kind
from distilmq_broker.scaling.core.policy import ScalingPolicy
from tests.broker.front.core.hosting import need, offer
from tests.broker.scaling.core.scaled import ScaledWorld

RUNS = ("r0", "r1")
FIXED = Kind(offer(2, gpus=["0"], resources={"pen": 1}))


def _fixed(need: Need | None) -> Kind | None:
    return FIXED if need is None or FIXED.suits(need) else None


def _tailored(need: Need | None) -> Kind | None:
    if need is None:
        return Kind(offer(1, cpus=1))
    gpus = [str(gpu) for gpu in range(need.gpus)]
    asks = need.gpus or need.cpus or need.resources
    return Kind(offer(1, gpus=gpus, cpus=need.cpus, resources=need.resources), need.steps if asks else ())


@st.composite
def _needs(draw: st.DrawFn) -> tuple[Need, ...]:
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True))
    return tuple(
        need(
            name,
            draw(st.integers(0, 4)),
            work=draw(st.integers(0, 5)),
            gpus=draw(st.integers(0, 2)),
            cpus=draw(st.integers(0, 4)),
            resources=draw(st.sampled_from([{}, {}, {"pen": 1}, {"pen": 2}])),
            waits=draw(st.sampled_from([False, False, False, True])),
        )
        for name in names
    )


class Chaos:
    """One event after the other, each drawn."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        least = draw(st.integers(0, 2))
        most = draw(st.integers(max(1, least), 4))
        self.kind_for = draw(st.sampled_from([_fixed, _tailored]))
        self.scaled = ScaledWorld(
            ScalingPolicy("auto", least, most, idle=8.0, turn=10.0, longest_backoff=10.0), self.kind_for
        )
        if draw(st.booleans()):
            self.scaled.world.join("by-hand", offer(1, cpus=2))

    def happen(self) -> None:
        events: list[Callable[[], object]] = [
            self.ask,
            self.scaled.look,
            self.join,
            self.fail,
            self.lose,
            self.pass_time,
        ]
        self.draw(st.sampled_from(events))()

    def ask(self) -> None:
        self.scaled.ask(self.draw(st.sampled_from(RUNS)), self.draw(_needs()))

    def join(self) -> None:
        if self.scaled.coming:
            self.scaled.join(self.draw(st.sampled_from(sorted(self.scaled.coming))))

    def fail(self) -> None:
        if self.scaled.coming:
            self.scaled.fail(self.draw(st.sampled_from(sorted(self.scaled.coming))))

    def lose(self) -> None:
        hosts = self.scaled.world.hosts
        if hosts:
            # Its machine is gone, without a word; the broker finds out later.
            del hosts[self.draw(st.sampled_from(sorted(hosts)))]

    def pass_time(self) -> None:
        self.scaled.pass_time(self.draw(st.sampled_from([0.5, 3.0, 20.0])))


@settings(max_examples=40)
@given(st.data())
def test_whatever_happens_nobody_starves_and_in_the_end_all_leave(data: st.DataObject) -> None:
    chaos = Chaos(data.draw)
    scaled = chaos.scaled
    for _ in range(data.draw(st.integers(0, 25))):
        chaos.happen()

    # Launches may have failed for a while, and what has vanished is still listed.
    scaled.live(30)
    possible = {
        (run, need.id)
        for run, needs in scaled.needs.items()
        for need in needs
        if need.work and need.count and not need.waits
        if chaos.kind_for(need) is not None
    }
    served: set[tuple[str, str]] = set()
    # Who gets the slots of a worker that is of use is decided by the broker, and not by us.
    for _ in range(len(possible) * 80):
        served |= scaled.served() | {key for key in possible if scaled.has_use(key)}
        if possible <= served:
            break
        scaled.live(1)
    assert possible <= served

    for run in RUNS:
        scaled.ask(run, [])
    scaled.live(60)
    assert len(scaled.ours()) == scaled.policy.least
    assert scaled.coming == {}


NAMES = "abcd"
TURN = 10.0


def _named(need: Need | None) -> Kind:
    """For each need a kind of its own, for which the cluster may have no place, or not soon."""
    return Kind(offer(1, resources={} if need is None else need.resources))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 5.0, 15.0, 45.0, math.inf]), min_size=1, max_size=len(NAMES)),
    st.integers(0, 2),
    st.integers(1, 3),
    st.sampled_from([None, 100.0]),
)
@example([15.0, 15.0], 0, 1, None)
@example([45.0, math.inf, math.inf], 0, 1, None)
def test_a_need_whose_kind_joins_at_some_time_is_served_however_others_do(
    delays: list[float], least: int, most: int, join_within: float | None
) -> None:
    takes = dict(zip(NAMES, delays, strict=False))
    policy = ScalingPolicy(
        "auto", min(least, most), most, idle=8.0, turn=TURN, longest_backoff=10.0, join_within=join_within
    )
    scaled = ScaledWorld(policy, _named)
    scaled.takes = lambda kind: takes[next(iter(kind.offer.resources))] if kind.offer.resources else 0.0
    scaled.ask("r", [need(name, resources={name: 1}) for name in takes])
    unserved = {name: 0 for name, seconds in takes.items() if seconds < math.inf}
    longest = dict(unserved)

    for _ in range(2500):
        scaled.live(1)
        for name in unserved:
            unserved[name] = 0 if ("r", name) in scaled.served() else unserved[name] + 1
            longest[name] = max(longest[name], unserved[name])

    assert all(seconds <= 1500 for seconds in longest.values()), longest

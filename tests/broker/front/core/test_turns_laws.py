"""Where there are fewer slots than steps: whoever has work gets its turn, and loading is a small part of the time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from distilmq.protocol.messages.slots import Need
from distilmq_broker.front.core.events import NeedsTold
from distilmq_broker.front.core.turns import LOADS, OWN_TURN, TURN
from tests.broker.front.core.hosting import World, need, offer

TICK = 1.0
SHARE = 0.4
"""Part of the time of all slots that may go into loading, once each step has been loaded for the first time."""
LOAD = st.sampled_from([0.0, 2.0, 6.0, 20.0])


@dataclass
class Step:
    """One step of a run, the processes of which take a while to load it.

    Attributes:
        load: seconds.
        flickers: whether it often has nothing to do for a moment, though more comes.
    """

    run: str
    name: str
    load: float
    flickers: bool = False
    begun: dict[str, float] = field(default_factory=dict)
    """Grant to when its process began to load."""
    loads: int = 0
    loading: float = 0.0
    waits_since: float = 0.0
    longest: float = 0.0

    def ready(self, now: float) -> int:
        return sum(now >= began + self.load for began in self.begun.values())


class Shared:
    """A host with a few slots, and the steps that share them."""

    def __init__(self, slots: int, steps: list[Step]) -> None:
        self.world = World()
        self.host = self.world.join("h", offer(slots))
        self.steps = steps
        self.turn = 0

    def go_on(self, seconds: float) -> None:
        until = self.world.now + seconds
        while self.world.now < until:
            self._tick()

    def _tick(self) -> None:
        world = self.world
        self.turn += 1
        for run in dict.fromkeys(step.run for step in self.steps):
            world.handle(NeedsTold(run, tuple(self._need(step) for step in self.steps if step.run == run)))
        world.settle(1, apart=TICK)
        for step in self.steps:
            self._look(step)

    def _need(self, step: Step) -> Need:
        ready = step.ready(self.world.now)
        idle = step.flickers and self.turn % 2 == 1 and ready > 0
        known = step.load if step.loads and ready else 0.0
        return need(step.name, work=0 if idle else 3, fed=idle, ready=ready, load=known)

    def _look(self, step: Step) -> None:
        now = self.world.now
        processes = [
            name for name, grant in self.host.processes.items() if (grant.run, grant.need) == (step.run, step.name)
        ]
        step.loads += sum(name not in step.begun for name in processes)
        step.begun = {name: step.begun.get(name, now) for name in processes}
        step.loading += TICK * sum(now < began + step.load for began in step.begun.values())
        if processes:
            step.waits_since = now
        step.longest = max(step.longest, now - step.waits_since)


def turn_of(step: Step, least: float) -> float:
    return step.load + max(least, LOADS * step.load) + 4 * TICK


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.builds(lambda load, flickers: (load, flickers), LOAD, st.booleans()), min_size=2, max_size=5),
)
@example(1, [(20.0, False), (0.0, False), (0.0, False)])
def test_the_steps_of_a_run_take_turns_that_are_worth_their_loading(
    slots: int, drawn: list[tuple[float, bool]]
) -> None:
    steps = [Step("r", f"s{place}", load, flickers) for place, (load, flickers) in enumerate(drawn)]
    round_of_all = sum(turn_of(step, OWN_TURN) for step in steps)
    shared = Shared(slots, steps)

    shared.go_on(4 * round_of_all)

    time = shared.world.now * min(slots, len(steps))
    assert all(step.longest <= round_of_all for step in steps), steps
    assert sum(step.loading for step in steps) <= SHARE * time, steps


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 2),
    st.lists(st.lists(LOAD, min_size=1, max_size=3), min_size=2, max_size=3),
)
def test_runs_take_turns_that_are_worth_their_loading(slots: int, loads: list[list[float]]) -> None:
    steps = [
        Step(f"r{run}", f"s{place}", load) for run, of_run in enumerate(loads) for place, load in enumerate(of_run)
    ]
    runs = {run: [step for step in steps if step.run == run] for run in dict.fromkeys(step.run for step in steps)}
    round_of_runs = sum(max(turn_of(step, TURN) for step in of_run) for of_run in runs.values())
    most = max(len(of_run) for of_run in runs.values())
    shared = Shared(slots, steps)

    shared.go_on(2 * (most + 1) * round_of_runs)

    time = shared.world.now * min(slots, len(steps))
    assert all(step.longest <= (most + 1) * round_of_runs for step in steps), steps
    assert sum(step.loading for step in steps) <= SHARE * time, steps

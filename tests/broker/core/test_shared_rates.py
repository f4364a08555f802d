"""Processes that pace themselves by what is lent to them never send more in a minute than the account may."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from distilmq.models.requests.bucket import MINUTE
from distilmq.models.requests.rates import NOTHING, Cost, Limits, Pace
from distilmq.protocol.messages import Loan
from distilmq_broker.core.accounts import Accounts
from distilmq_broker.core.events import LoanAsked

TICK = 0.1
RENEW = 10
"""Ticks between two applications of a process."""


@dataclass
class Process:
    """Sends as fast as it may while it has something to send."""

    name: str
    wanted: int
    pace: Pace
    cost: Cost = NOTHING
    held: Loan | None = None
    until: float = 0.0
    sent: list[float] = field(default_factory=list[float])
    heard: float | None = None

    def renew(self, holder: Accounts, told: Loan, now: float) -> None:
        asked = LoanAsked(self.name, b"account", told, self.wanted, 0, self.held, now, heard=self.heard)
        lend = holder.asked(asked, now)
        self.heard = now
        self.held, self.until = lend.loan, now + lend.seconds
        limits = Limits(lend.loan.requests, lend.loan.input_tokens, lend.loan.output_tokens)
        self.pace.lend(limits, None, now, full=lend.full)

    def send(self, now: float) -> None:
        if now >= self.until:
            self.held = None
            self.pace.stop(now)
        while self.wanted and self.pace.wait(now, self.cost) <= 0:
            self.pace.sent(self.cost, now)
            self.sent.append(now)


class World:
    """A holder and processes that share an account; the clock is turned by hand."""

    def __init__(self, told: Loan, cost: Cost = NOTHING) -> None:
        self.told = told
        self.cost = cost
        self.tick = 0
        self.holder = Accounts(cautious=False)
        self.holder.start(0.0)
        self.alive: list[Process] = []
        self.gone: list[Process] = []

    @property
    def now(self) -> float:
        return self.tick * TICK

    @property
    def sent(self) -> list[float]:
        return sorted(at for process in (*self.alive, *self.gone) for at in process.sent)

    def join(self, wanted: int = 1000) -> None:
        told = Limits(self.told.requests, self.told.input_tokens, self.told.output_tokens)
        process = Process(f"p{len(self.alive) + len(self.gone)}", wanted, Pace(told, self.now), self.cost)
        process.pace.stop(self.now)
        process.renew(self.holder, self.told, self.now)
        self.alive.append(process)

    def kill(self, place: int) -> None:
        if self.alive:
            self.gone.append(self.alive.pop(place % len(self.alive)))

    def restart_holder(self) -> None:
        self.holder = Accounts(cautious=True)
        self.holder.start(self.now)

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / TICK)):
            self.tick += 1
            for place, process in enumerate(self.alive):
                if (self.tick + place) % RENEW == 0:
                    process.renew(self.holder, self.told, self.now)
                process.send(self.now)


def busiest_minute(times: list[float]) -> int:
    most, first = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - MINUTE + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


event = st.one_of(
    st.tuples(st.just("join"), st.sampled_from([0, 1, 50, 1000])),
    st.tuples(st.just("kill"), st.integers(0, 3)),
    st.tuples(st.just("restart"), st.just(0)),
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([240, 600, 3000]), st.lists(st.tuples(event, st.floats(0.0, 20.0)), max_size=12))
@example(600, [(("join", 1000), 0.5), (("join", 1000), 30.0), (("kill", 0), 7.0), (("join", 1000), 30.0)])
def test_no_minute_sees_more_than_the_limit_whoever_joins_and_dies(
    limit: int, events: list[tuple[tuple[str, int], float]]
) -> None:
    world = World(Loan(requests=float(limit)))
    world.join()

    for (kind, value), seconds in events:
        match kind:
            case "join" if len(world.alive) < 4:
                world.join(value)
            case "kill":
                world.kill(value)
            case "restart":
                world.restart_holder()
            case _:
                pass
        world.run(seconds)
    world.run(70.0)

    assert busiest_minute(world.sent) <= limit


def test_busy_processes_use_what_the_account_may() -> None:
    world = World(Loan(requests=600.0))
    for _ in range(4):
        world.join()

    world.run(130.0)

    assert len([at for at in world.sent if 65 <= at < 125]) >= 0.95 * 600


def test_tokens_are_shared_like_requests() -> None:
    world = World(Loan(input_tokens=60_000.0), Cost(input_tokens=200.0))
    for _ in range(4):
        world.join()

    world.run(130.0)

    assert len([at for at in world.sent if 65 <= at < 125]) >= 0.95 * 300
    assert busiest_minute(world.sent) <= 300


def test_one_that_takes_the_place_of_another_sends_nothing_at_once() -> None:
    world = World(Loan(requests=600.0))
    world.join()
    world.run(10.0)
    world.kill(0)
    world.run(6.0)

    world.join()
    began = world.now
    world.run(0.2)

    assert len([at for at in world.sent if began < at <= began + 0.2]) <= 2

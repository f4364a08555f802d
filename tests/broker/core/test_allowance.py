"""Requests in flight count for the bounds on a run: what is out at once fits into what is left."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.protocol.messages import Lend, Loan
from distilmq.protocol.plan import RunSettings
from distilmq.protocol.usage import Usage
from distilmq_broker.core.allowance import Allowance
from distilmq_broker.core.commands import Command, SayDeparted, Send
from distilmq_broker.core.events import LoanAsked, LoanCame, UsageCame, WorkerExited
from distilmq_broker.core.spending import Spending
from tests.broker.core.scene import Scene, generator, plan_of, step

ACCOUNT = b"account"
FREE = Loan()


def had(requests: int, tokens: int) -> Usage:
    """Requests that took so many tokens together."""
    return Usage(model="m", requests=requests, input_tokens=tokens, cost=tokens / 100)


class Run:
    """A run with a bound, and its models."""

    def __init__(self, **bounds: Any) -> None:
        self.spending = Spending(RunSettings(**bounds))
        self.allowance = Allowance(self.spending)
        self.now = 0.0
        self.heard: dict[str, float] = {}

    def ask(
        self, session: str, *, step: str = "ask", wanted: int = 1000, out: int = 0, loan: Loan = FREE
    ) -> int | None:
        """A process asks; the places that it gets."""
        heard = self.heard.get(session)
        self.allowance.asked(LoanAsked(session, ACCOUNT, loan, wanted, out, None, self.now, heard=heard), step)
        self.heard[session] = self.now
        self.now += 0.01
        lend = Lend(account=ACCOUNT, loan=loan, seconds=5.0, asked=self.now)
        return self.allowance.lent(session, lend, self.now).loan.places

    def spend(self, session: str, requests: int, tokens: int, *, step: str = "ask") -> dict[str, int | None]:
        """The totals of a process; what processes are told because of it."""
        self.spending.note(step, session, had(requests, tokens))
        return {session: lend.loan.places for session, lend in self.allowance.changed(self.now)}


def test_a_run_without_a_bound_is_lent_what_there_is() -> None:
    run = Run()

    assert run.ask("a") is None
    assert run.ask("a", loan=Loan(places=7)) == 7
    assert run.spend("a", 10, 1000) == {}


def test_while_nothing_is_known_of_a_step_each_process_sends_one_request() -> None:
    run = Run(max_tokens=1000)

    assert (run.ask("a"), run.ask("b")) == (1, 1)
    assert run.ask("c", loan=Loan(places=0)) == 0


def test_what_one_request_took_says_how_many_fit() -> None:
    run = Run(max_tokens=1010)
    run.ask("a")

    told = run.spend("a", 1, 10)

    assert told == {"a": 20}, "of what is left, a thousand, a request is taken for fifty: one alone says little"


def test_the_more_is_known_the_more_go_at_once() -> None:
    run = Run(max_tokens=2000)
    run.spend("a", 100, 1000)

    assert run.ask("a") == 71, "a request is taken for fourteen tokens, and a thousand are left"


def test_the_tighter_bound_holds() -> None:
    run = Run(max_tokens=2000, max_cost=11.0)
    run.spend("a", 100, 1000)

    assert run.ask("a") == 7


def test_a_limit_of_the_account_stays() -> None:
    run = Run(max_tokens=2000)
    run.spend("a", 100, 1000)

    assert run.ask("a", loan=Loan(places=5)) == 5


def test_models_that_take_nothing_are_not_held_back() -> None:
    run = Run(max_cost=1.0)
    run.spend("a", 100, 0)

    assert run.ask("a") is None


def test_processes_share_what_is_left() -> None:
    run = Run(max_tokens=2000)
    run.spend("a", 100, 1000)
    run.ask("a", wanted=300)

    early = run.ask("b", wanted=100)
    for _ in range(2):
        first = run.ask("a", wanted=300)  # it says that it has heard of the first when it asks for the second
    second = run.ask("b", wanted=100)

    assert early == 0, "the other has it all"
    assert (first, second) == (53, 17)


def test_a_loan_that_is_too_large_by_now_is_cut_at_once() -> None:
    run = Run(max_tokens=2000)
    run.spend("a", 100, 1000)
    run.ask("a")

    assert run.spend("a", 150, 1500) == {"a": 37}


def test_the_last_request_goes_alone() -> None:
    run = Run(max_tokens=1005)
    run.spend("a", 100, 1000)

    assert (run.ask("a", wanted=3), run.ask("b", wanted=3)) == (1, 0)
    assert (run.ask("a", wanted=0), run.ask("a", wanted=0)) == (0, 0)
    assert run.ask("b", wanted=3) == 1


def test_what_a_dead_process_had_comes_back() -> None:
    run = Run(max_tokens=2000)
    run.spend("a", 100, 1000)
    run.ask("a")
    run.allowance.gone("a")
    early = run.ask("b")
    run.now = 5.0

    assert (early, run.ask("b")) == (0, 71)


def test_requests_of_a_frozen_process_count_until_it_says_what_came_of_them() -> None:
    run = Run(max_tokens=2000)
    run.spend("a", 100, 1000)
    run.ask("a", wanted=300)
    run.ask("b")
    for _ in range(2):
        run.ask("a", wanted=300, out=30)
    run.now = 5.5

    meanwhile = run.ask("b")
    for _ in range(2):
        run.ask("a", wanted=0, out=0)

    assert meanwhile == 71 - 30, "thirty of its requests may be out still"
    assert run.ask("b") == 71


def test_a_model_that_leaves_gives_back_what_it_has() -> None:
    run = Run(max_tokens=2000)
    run.spend("a", 100, 1000)
    run.ask("a")

    run.allowance.asked(LoanAsked("a", ACCOUNT, FREE, 0, 0, None, 0.0, leaving=True), "ask")

    assert run.ask("b") == 71


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(5, 40), min_size=20, max_size=60),
    st.integers(1, 3),
    st.integers(200, 3000),
    st.randoms(use_true_random=False),
)
def test_a_bound_is_passed_by_little(sizes: list[int], processes: int, bound: int, random: Any) -> None:
    run = Run(max_tokens=bound)
    names = [f"p{number}" for number in range(processes)]
    out: dict[str, list[int]] = {name: [] for name in names}
    places: dict[str, int] = dict.fromkeys(names, 0)
    totals = dict.fromkeys(names, (0, 0))
    for turn in range(5000):
        if run.spending.reached():
            break
        if turn % 7 == 0:
            run.now += 1.0
            for name in names:
                places[name] = run.ask(name, out=len(out[name])) or 0
        for name in names:
            while len(out[name]) < min(places[name], 32):
                out[name].append(random.choice(sizes))
        busy = [name for name in names if out[name]]
        if not busy:
            continue
        name = random.choice(busy)
        requests, tokens = totals[name]
        totals[name] = (requests + 1, tokens + out[name].pop(0))
        places.update({who: number or 0 for who, number in run.spend(name, *totals[name]).items()})

    assert run.spending.reached(), "the bound is used"
    in_flight = sum(sum(tokens) for tokens in out.values())
    assert run.spending.of_run.tokens + in_flight <= bound + (2 + 2 * processes) * max(sizes)


# ---------------------------------------------------------------- in the coordinator


def lends(commands: list[Command]) -> list[tuple[str, int | None]]:
    return [
        (each.session, each.message.loan.places)
        for each in commands
        if isinstance(each, Send) and isinstance(each.message, Lend)
    ]


def scene_of(*, lends: bool = True, **bounds: Any) -> Scene:
    plan = plan_of(generator(size=10, max_batches=3), step("ask", "load", models=True), **bounds)
    scene = Scene(plan, lends=lends)
    scene.staff()
    return scene


def asked(session: str) -> LoanAsked:
    return LoanAsked(session, ACCOUNT, FREE, 50, 0, None, 0.0)


def test_the_coordinator_cuts_its_loans_and_tells_when_they_shrink() -> None:
    scene = scene_of(max_tokens=1010)

    first = scene.tell(asked("s2"))
    told = scene.tell(UsageCame("s2", "ask", (had(1, 10),)))
    later = scene.tell(UsageCame("s2", "ask", (had(50, 510),)))

    assert (lends(first), lends(told), lends(later)) == ([("s2", 1)], [("s2", 20)], [])
    assert lends(scene.tell(asked("s2"))) == [("s2", 31)]
    assert lends(scene.tell(UsageCame("s2", "ask", (had(80, 810),)))) == [("s2", 13)]


def test_loans_of_a_broker_are_cut_as_well() -> None:
    scene = scene_of(max_tokens=1010, lends=False)
    nothing = scene.tell(asked("s2"))

    passed_on = scene.tell(LoanCame("s2", Lend(account=ACCOUNT, loan=Loan(places=9), seconds=5.0, asked=0.0)))

    assert (lends(nothing), lends(passed_on)) == ([], [("s2", 1)])


def test_whoever_lends_to_several_runs_is_told_which_processes_are_gone() -> None:
    exited = WorkerExited("s2", code=-9)

    assert SayDeparted("s2") in scene_of(lends=False).tell(exited)
    assert SayDeparted("s2") not in scene_of().tell(exited)

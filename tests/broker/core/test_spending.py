"""What models took is counted once whatever happens to messages, and a bound on it stops the run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilmq.protocol.messages import Drain
from distilmq.protocol.plan import Plan, RunSettings
from distilmq.protocol.usage import Usage
from distilmq_broker.core.commands import Command, EndRun, Record
from distilmq_broker.core.events import AnswerCame, BatchReturned, KillRequested, StopRequested, UsageCame
from distilmq_broker.core.facts import AnswerRecorded, UsageRecorded
from distilmq_broker.core.spending import Spending
from tests.broker.core.scene import Scene, batches, generator, messages, only, plan_of, records, step


def had(requests: int, *, model: str = "m", cost: float = 0.01, tokens: int = 10, unpriced: int = 0) -> Usage:
    """So many requests, each at the same price."""
    return Usage(
        model=model,
        requests=requests,
        input_tokens=tokens * requests,
        output_tokens=requests,
        cost=cost * requests,
        unpriced=unpriced * requests,
        seconds=0.5 * requests,
    )


def asking(*, replicas: int = 1, **bounds: Any) -> Plan:
    return plan_of(
        generator(size=10, max_batches=3),
        step("ask", "load", models=True, replicas=replicas),
        step("keep", "ask"),
        **bounds,
    )


def ended(commands: Any) -> list[tuple[str, str]]:
    return [(each.outcome, each.budget) for each in commands if isinstance(each, EndRun)]


# ---------------------------------------------------------------- counting


def test_a_total_that_comes_again_counts_once() -> None:
    scene = Scene(asking())
    scene.staff()

    first = scene.tell(UsageCame("s2", "ask", (had(3),)))
    again = scene.tell(UsageCame("s2", "ask", (had(3),)))
    late = scene.tell(UsageCame("s2", "ask", (had(2),)))

    assert records(first) == [UsageRecorded("ask", "s2", had(3))]
    assert records(again) == records(late) == []
    assert scene.core.run.spending.of_run.requests == 3


def test_what_a_worker_had_counts_whatever_becomes_of_its_batch() -> None:
    scene = Scene(asking())
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "ask"))
    scene.done(work, session="somebody else")

    scene.tell(UsageCame("s2", "ask", (had(4),)))

    assert scene.core.run.spending.of_step("ask").requests == 4


def test_usage_is_recorded_with_the_answer_that_brought_it() -> None:
    scene = Scene(asking(), held_commits=True)
    load, *_ = batches(scene.staff())
    scene.done(load)
    work = only(batches(scene.commit(), "ask"))

    scene.tell(UsageCame(work.session, "ask", (had(1),)))
    scene.tell(AnswerCame(work.session, work.lease, 0, b"k", 0, b"yes"))

    assert [type(fact) for fact in scene.facts[-2:]] == [UsageRecorded, AnswerRecorded]


def test_what_comes_behind_the_end_is_still_counted() -> None:
    scene = Scene(asking())
    scene.staff()
    scene.tell(KillRequested())

    followed = scene.tell(UsageCame("s2", "ask", (had(2),)))

    assert [each.fact for each in followed if isinstance(each, Record)] == [UsageRecorded("ask", "s2", had(2))]


def test_a_step_that_is_not_in_the_plan_has_had_nothing() -> None:
    scene = Scene(asking())

    assert records(scene.tell(UsageCame("s2", "who", (had(2),)))) == []


def test_progress_says_what_steps_had() -> None:
    scene = Scene(asking())
    scene.staff()
    scene.tell(UsageCame("s2", "ask", (had(2), had(1, model="n", unpriced=1, cost=0.0))))

    load, ask, keep = scene.core.progress(scene.now).steps

    assert (ask.models, ask.requests, ask.input_tokens, ask.output_tokens, ask.cost) == (True, 3, 30, 3, None)
    assert (load.models, keep.models) == (False, False)


WORKERS = st.sampled_from(["w1", "w2", "w3"])
MODELS = st.sampled_from(["m", "n"])
TOTALS = st.lists(st.tuples(WORKERS, MODELS, st.integers(1, 9)), max_size=40)


@settings(max_examples=200)
@given(TOTALS, st.randoms(use_true_random=False), st.integers(0, 40))
def test_totals_are_those_of_the_latest_words_of_all_whatever_is_lost_doubled_or_late(
    told: list[tuple[str, str, int]], random: Any, restart_at: int
) -> None:
    latest: dict[tuple[str, str], int] = {}
    for worker, model, requests in told:
        latest[worker, model] = max(requests, latest.get((worker, model), 0))
    arriving = [*told, *(each for each in told if random.random() < 0.3)]
    random.shuffle(arriving)
    facts: list[UsageRecorded] = []
    spending, shown = Spending(RunSettings()), 0

    for place, (worker, model, requests) in enumerate(arriving):
        if place == restart_at:
            spending = replayed(facts)
        usage = had(requests, model=model)
        if spending.note("ask", worker, usage):
            facts.append(UsageRecorded("ask", worker, usage))
        assert spending.of_run.requests >= shown
        shown = spending.of_run.requests

    assert spending.of_run.requests == sum(latest.values())
    assert spending.of_run.cost == pytest.approx(0.01 * sum(latest.values()))
    of_step = spending.of_step("ask")
    assert (of_step.requests, of_step.tokens) == (spending.of_run.requests, spending.of_run.tokens)
    assert of_step.cost == pytest.approx(spending.of_run.cost)
    assert replayed(facts).of_run.tokens == spending.of_run.tokens


def test_a_request_of_unknown_tokens_counts_as_an_average_one_of_its_model() -> None:
    spending = Spending(RunSettings(max_tokens=100))
    told = Usage(model="m", requests=4, input_tokens=30, output_tokens=15, output_untold=1, cost=0.3, unpriced=1)

    spending.note("ask", "w", told)
    before = spending.reached()
    spending.note("ask", "v", told)

    assert before is None, "30 and 20 are 50"
    assert spending.reached() == "max_tokens"


def test_a_bound_cannot_hold_a_model_that_tells_nothing_so_it_is_reached() -> None:
    mute = Usage(model="m", requests=1, input_untold=1, output_untold=1, unpriced=1)
    bounds = {"max_tokens": RunSettings(max_tokens=10**9), "max_cost": RunSettings(max_cost=1e9)}

    for bound, plan in bounds.items():
        spending = Spending(plan)
        spending.note("other", "w", had(5))
        assert spending.reached() is None
        spending.note("ask", "w", mute)
        assert spending.reached() == bound
        assert spending.part_of_rest("other") == spending.part_of_rest("ask") == 1e9, "one at a time"


def test_what_costs_nothing_and_counts_nothing_is_not_bounded() -> None:
    spending = Spending(RunSettings(max_tokens=10, max_cost=1))

    spending.note("embed", "w", Usage(model="here", requests=9, input_untold=9))

    assert spending.reached() is None


def replayed(facts: list[UsageRecorded]) -> Spending:
    spending = Spending(RunSettings())
    for fact in facts:
        spending.note(fact.step, fact.worker, fact.usage)
    return spending


@given(st.integers(1, 1000), st.floats(1e-6, 10))
def test_a_bound_is_reached_by_the_request_that_makes_it_full(requests: int, price: float) -> None:
    spending = Spending(RunSettings(max_cost=price * requests))
    for number in range(1, requests + 1):
        assert spending.reached() is None
        spending.note("ask", "w", had(number, cost=price).model_copy(update={"cost": _summed(price, number)}))

    assert spending.reached() == "max_cost"


def _summed(price: float, times: int) -> float:
    """As a worker adds it up, with the roundings of floats."""
    total = 0.0
    for _ in range(times):
        total += price
    return total


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize(("bounds", "bound"), [({"max_cost": 0.05}, "max_cost"), ({"max_tokens": 55}, "max_tokens")])
def test_a_run_that_reaches_its_bound_drains_and_ends(bounds: dict[str, Any], bound: str) -> None:
    scene = Scene(asking(stop_timeout=7.0, **bounds))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "ask"))

    below = scene.tell(UsageCame(work.session, "ask", (had(4),)))
    reached = scene.tell(UsageCame(work.session, "ask", (had(5),)))
    returned = scene.tell(BatchReturned(work.session, work.lease))
    more = give_back(scene)

    assert messages(below, Drain) == []
    assert {session for session, drain in messages(reached, Drain) if drain.timeout == 7.0} == {"s1", "s2", "s3"}
    assert batches([*reached, *returned, *more]) == []
    assert ended(more) == [("stopped", bound)]


def give_back(scene: Scene) -> list[Command]:
    """The generator's process returns what it was asked for ahead."""
    run = scene.core.run
    ahead = [run.lease(work) for work in run.flow.steps[0].leases.pending.values()]
    return [followed for lease in ahead for followed in scene.tell(BatchReturned("s1", lease))]


def test_answers_in_flight_are_recorded_while_it_drains() -> None:
    scene = Scene(asking(max_tokens=1))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "ask"))
    scene.tell(UsageCame(work.session, "ask", (had(1),)))

    scene.tell(UsageCame(work.session, "ask", (had(2),)))
    followed = scene.tell(AnswerCame(work.session, work.lease, 3, b"k", 0, b"yes"))

    assert records(followed) == [AnswerRecorded("ask", (), 3, b"k", 0)]
    assert scene.core.run.spending.of_run.requests == 2


def test_a_bound_that_was_passed_before_ends_the_run_before_anything_begins() -> None:
    scene = Scene(asking(max_cost=0.05), facts=[UsageRecorded("ask", "w0", had(7))])

    assert ended(scene.began) == [("stopped", "max_cost")]
    assert [type(each).__name__ for each in scene.began] == ["KeepSlots", "EndRun"]


def test_a_higher_bound_goes_on() -> None:
    scene = Scene(asking(max_cost=0.10), facts=[UsageRecorded("ask", "w0", had(7))])
    scene.staff()

    assert ended(scene.tell(UsageCame("s2", "ask", (had(2),)))) == []
    assert messages(scene.tell(UsageCame("s2", "ask", (had(3),))), Drain) != []


def test_a_bound_does_not_stop_what_costs_nothing() -> None:
    plan = asking(max_cost=0.05)
    scene = Scene(plan)
    orders = batches(scene.staff())
    while orders and not all(state.finished for state in scene.core.run.flow.steps[:2]):
        order = orders.pop(0)
        orders += batches(scene.done(order, last=order.lease.seq_no == (2,)))

    reached = scene.tell(UsageCame("s2", "ask", (had(9),)))
    resumed = Scene(plan, facts=scene.facts)

    assert messages(reached, Drain) == []
    assert ended(resumed.began) == []
    assert batches(resumed.staff(), "keep") != []


def test_ctrl_c_before_the_bound_is_a_stop_and_no_matter_of_money() -> None:
    scene = Scene(asking(max_tokens=1))
    load, *_ = batches(scene.staff())
    work = only(batches(scene.done(load), "ask"))
    scene.tell(StopRequested(5.0))
    give_back(scene)

    scene.tell(UsageCame(work.session, "ask", (had(1),)))

    assert ended(scene.tell(BatchReturned(work.session, work.lease))) == [("stopped", "")]

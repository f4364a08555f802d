"""What a few rows took is scaled to all of them."""

from __future__ import annotations

import pytest

from distilmq.pipeline.estimate import Estimate, duration, estimate
from distilmq.pipeline.usage import ModelUsage, RunUsage
from distilmq.protocol.plan import Plan, StepSpec


def plan(*stages: tuple[str, ...]) -> Plan:
    load = StepSpec(name="load", kind="generator", size=5)
    ask = StepSpec(name="ask", kind="normal", size=5, predecessors=("load",))
    judge = StepSpec(name="judge", kind="normal", size=5, predecessors=("ask",))
    return Plan(pipeline="p", steps=(load, ask, judge), stages=stages or (("load", "ask", "judge"),))


def took(step: str, requests: int, *, cost: float | None = 0.1, seconds: float = 1.0) -> ModelUsage:
    return ModelUsage(step, "m", "w", requests, 100 * requests, 10 * requests, cost, cost or 0.0, seconds * requests)


def of(usage: RunUsage, *, rows: int | None = None, known: int | None = 1000, at_once: int = 50) -> Estimate:
    return estimate(
        plan(),
        usage,
        given={"load": 5},
        known={"load": known},
        rows=rows,
        at_once={"ask": at_once, "judge": at_once},
    )


def test_every_row_is_taken_for_an_average_one() -> None:
    found = of(RunUsage((took("ask", 5), took("judge", 10, cost=0.4))))

    assert (found.rows, found.tried_rows, found.tried_requests) == (1000, 5, 15)
    assert [(step.step, step.requests, step.input_tokens) for step in found.steps] == [
        ("ask", 1000, 100_000),
        ("judge", 2000, 200_000),
    ]
    assert found.cost == pytest.approx(100.0)
    assert (found.requests, found.input_tokens, found.output_tokens) == (3000, 300_000, 30_000)


def test_requests_are_out_at_once() -> None:
    found = of(RunUsage((took("ask", 5, seconds=2.0), took("judge", 10))), at_once=50)

    assert [step.seconds for step in found.steps] == [40.0, 40.0]
    assert found.seconds == 40.0, "steps that are loaded together work at the same time"


def test_no_run_is_faster_than_an_answer() -> None:
    assert of(RunUsage((took("ask", 5, seconds=3.0),)), rows=10, at_once=500).steps[0].seconds == 3.0


def test_stages_come_one_after_the_other() -> None:
    found = estimate(
        plan(("load", "ask"), ("judge",)),
        RunUsage((took("ask", 5), took("judge", 5))),
        given={"load": 5},
        known={"load": 1000},
        rows=None,
        at_once={"ask": 10, "judge": 20},
    )

    assert found.seconds == 100.0 + 50.0


def test_rows_that_are_said_count_for_more_than_rows_that_are_known() -> None:
    assert of(RunUsage((took("ask", 5),)), rows=20_000).requests == 20_000


def test_where_nobody_knows_it_is_for_a_thousand_rows() -> None:
    assert of(RunUsage((took("ask", 5),)), known=None).rows == 1000


def test_a_generator_that_gave_nothing_gives_no_estimate() -> None:
    found = estimate(plan(), RunUsage(), given={"load": 0}, known={"load": None}, rows=10, at_once={})

    assert (found.requests, found.cost, found.seconds) == (0, 0.0, 0.0)
    assert str(found) == "Estimate for 10 rows, by 0 tried with 0 requests: no model is asked."


def test_printed_it_is_a_table() -> None:
    found = of(RunUsage((took("ask", 5), took("judge", 5, cost=None, seconds=100.0))))

    assert str(found).splitlines() == [
        "Estimate for 1,000 rows, by 5 tried with 10 requests:",
        "step    model  requests  tokens in  tokens out      cost    time",
        "ask     m         1,000    100,000      10,000    $20.00    20 s",
        "judge   m         1,000    100,000      10,000         —  33 min",
        "in all            2,000    200,000      20,000  ≥ $20.00  33 min",
    ]
    assert found.cost is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "< 1 s"), (45, "45 s"), (119, "119 s"), (150, "2.5 min"), (8000, "2.2 h"), (2e6, "23 days")],
)
def test_times_have_no_more_figures_than_they_are_worth(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown

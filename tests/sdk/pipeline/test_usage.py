"""What models took, as data and as a table."""

from __future__ import annotations

import pytest

from distilmq.pipeline.usage import ModelUsage, RunUsage, dollars, run_usage, short_count
from distilmq.protocol.usage import Usage, WorkerUsage


def told(step: str, worker: str, model: str, requests: int, *, unpriced: int = 0) -> WorkerUsage:
    usage = Usage(
        model=model,
        requests=requests,
        input_tokens=1000 * requests,
        output_tokens=10 * requests,
        cost=0.5 * (requests - unpriced),
        unpriced=unpriced,
        seconds=2.0 * requests,
    )
    return WorkerUsage(step=step, worker=worker, usage=usage)


USAGE = run_usage(
    [told("judge", "w3", "small", 2, unpriced=1), told("ask", "w2", "big", 1), told("ask", "w1", "big", 3)],
    ["load", "ask", "judge"],
)


def test_entries_come_in_the_order_of_the_steps() -> None:
    assert [(entry.step, entry.worker, entry.requests) for entry in USAGE] == [
        ("ask", "w1", 3),
        ("ask", "w2", 1),
        ("judge", "w3", 2),
    ]


def test_entries_are_added_up_by_model_by_step_and_in_all() -> None:
    whole = ModelUsage("ask", "big", "", 4, 4000, 40, 2.0, 2.0, 8.0, 4000, 40)

    assert USAGE.by_model[0] == whole
    assert [entry.model for entry in USAGE.by_model] == ["big", "small"]
    assert USAGE.by_step["ask"].requests == 4
    assert USAGE.total.requests == 6


def test_a_cost_of_which_a_part_is_unknown_is_unknown() -> None:
    judge = USAGE.by_step["judge"]

    assert (judge.cost, judge.known_cost) == (None, 0.5)
    assert (USAGE.total.cost, USAGE.total.known_cost) == (None, 2.5)


def test_printed_it_is_a_table() -> None:
    assert str(USAGE).splitlines() == [
        "step    model  requests  tokens in  tokens out     cost",
        "ask     big           4      4,000          40    $2.00",
        "judge   small         2      2,000          20        —",
        "in all                6      6,000          60  ≥ $2.50",
    ]


def test_tokens_that_nobody_tells_are_no_zeros_and_a_sum_with_them_is_not_whole() -> None:
    silent = Usage(model="mute", requests=2, input_untold=2, output_untold=2, unpriced=2)
    half = Usage(model="half", requests=2, input_tokens=7, output_tokens=5, input_untold=1, unpriced=1)
    usage = run_usage(
        [WorkerUsage(step="ask", worker="w1", usage=silent), WorkerUsage(step="judge", worker="w2", usage=half)],
        ["ask", "judge"],
    )

    assert [(entry.input_tokens, entry.output_tokens, entry.known_tokens) for entry in usage] == [
        (None, None, 0),
        (None, 5, 12),
    ]
    assert (usage.total.input_tokens, usage.total.known_input_tokens, usage.total.known_tokens) == (None, 7, 12)
    assert str(usage).splitlines() == [
        "step    model  requests  tokens in  tokens out  cost",
        "ask     mute          2          —           —     —",
        "judge   half          2        ≥ 7           5     —",
        "in all                4        ≥ 7         ≥ 5     —",
    ]


def test_one_line_needs_no_sum() -> None:
    alone = run_usage([told("ask", "w1", "big", 3)], ["ask"])

    assert str(alone).splitlines()[1:] == ["ask   big           3      3,000          30  $1.50"]


def test_a_run_without_models_took_nothing() -> None:
    assert (len(RunUsage()), RunUsage().total.cost) == (0, 0.0)


@pytest.mark.parametrize(
    ("cost", "shown"),
    [(None, "—"), (0.0, "$0.00"), (1234.5, "$1,234.50"), (0.1234, "$0.1234"), (0.0000123, "$1.2e-05")],
)
def test_money_is_shown_with_figures_that_mean_something(cost: float | None, shown: str) -> None:
    assert dollars(cost) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (9999, "9999"), (12_345, "12.3k"), (456_789, "457k"), (1_234_567, "1.2M")]
)
def test_counts_are_shortened_where_there_is_little_room(number: int, shown: str) -> None:
    assert short_count(number) == shown

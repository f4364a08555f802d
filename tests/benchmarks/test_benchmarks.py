"""The benchmarks of models measure what they say they do, and the page says how runs ended."""

from __future__ import annotations

from typing import Any

from tests.benchmarks import busy, kills, report_hosts, report_models
from tests.benchmarks.model_servers import Entry

RUN = {"ideal": 10.0, "span": 11.0, "process": 12.5, "requests": 3, "refused": 0, "lost": 0, "failed": 0}


def section(name: str, values: dict[str, Any]) -> str:
    """The page's section on these results."""
    (text,) = report_models.sections({name: {"values": values}})
    return text


def test_a_run_is_judged_by_the_log_of_the_server() -> None:
    seen = busy.run(busy.Case("", "", 2.0, rows=101, faults=True, limit=64))

    assert seen["requests"] == 102, "the one that was malformed is asked for again"
    assert (seen["lost"], seen["failed"]) == (0, 1)
    assert seen["in_flight_median"] <= 64
    assert seen["ideal"] * 0.9 < seen["span"] < seen["process"]


def test_a_kill_is_told_with_what_was_sent_again() -> None:
    seen = kills.run(0, case=busy.Case("", "", 0, rows=100))

    assert 0 < seen["answered"] < 100
    assert seen["again_old"] <= seen["again"] <= seen["answered"]
    assert seen["lost"] == 0


def test_in_flight_is_looked_at_while_there_are_requests_left_to_send() -> None:
    log = [Entry(came=n, began=n, ended=n + 2.0, row=n, status=200) for n in range(100)]

    counts = busy.in_flight(log)

    assert (counts[0], counts[-1]) == (2, 2), "neither the first request, which is alone, nor the last"


def test_a_case_is_reached_only_without_a_lost_row() -> None:
    case = busy.Case("", "", 1.1)

    assert case.reached([RUN])
    assert not case.reached([{**RUN, "lost": 1}])
    assert not case.reached([{**RUN, "span": 11.2}])
    assert not case.reached([{**RUN, "failed": 1}]), "none is refused here"


def test_the_page_says_how_those_ended_that_did_not_come_to_the_end() -> None:
    killed = {"answered": 171, "in_flight": 29, "again": 3, "again_old": 0, "lost": 0}
    values = {
        "versions": {"asyncio": "3.0", "distilabel": "1.5.3"},
        "told": {"distilmq": [RUN], "asyncio": ["ends with an error"]},
        "kill": {"distilmq": [killed], "distilabel": [{**killed, "again": 0, "lost": "does not end"}]},
    }

    lines = section("others", values).splitlines()

    assert "| one task, the whole process | 1.25 | ends with an error | not measured | not measured |" in lines[-5]
    assert lines[-1].endswith("| 3 of 171 | not measured | not measured | not measured | the next run does not end |")


def test_many_hosts_reach_their_targets_only_by_what_was_recorded() -> None:
    seconds = {"welcomed": 0.7, "assigned": 1.9, "broker_joining": 0.5, "coordinator_joining": 0.3, "crowd_joining": 1}
    beats = {"broker_beats": 0.02, "coordinator_beats": 0.06}
    crowd = {
        "workers": 1000,
        "cores": 2,
        "load": 0.1,
        **seconds,
        **beats,
        "slow_run": 5.0,
        "fast_run": 50.0,
        "fewest": 1.0,
    }
    counts = {"seeds": 60, "first": 0, "rows": 160, "faults": 480, "batches": 12_660, "again": 90, "asked": 9_700}
    chaos = {**counts, "wrong": [7], "growth": {"broker": 1.04, "worker program": 1.2}}

    first, second = report_hosts.sections({"crowd": {"values": {"distilmq": [crowd]}}, "chaos": {"values": chaos}})

    assert "ready | **1.9 s** | within 2 s | yes |" in first
    assert "of the coordinator | **6.0%** | under 5% | no |" in first
    assert "| seeds, from 0 on | 60 | 200 | no |" in second
    assert "left | **1** | 0 | no |" in second
    assert "worker program, its last third to its first, at most | 1.20 | 1.1 | no |" in second
    assert "For 9,600 answers that the runs needed, the model was asked 100 times more" in second


def test_a_kill_reaches_its_target_only_if_nothing_old_was_sent_again() -> None:
    good = {"answered": 100, "in_flight": 64, "again": 3, "again_old": 0, "lost": 0}

    assert "Reached: yes" in section("kill", {"distilmq": [good, good]})
    assert "Reached: no" in section("kill", {"distilmq": [good, {**good, "again_old": 1}]})
    assert "Reached: no" in section("kill", {"distilmq": [good, {**good, "again": 65}]})

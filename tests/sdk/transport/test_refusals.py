"""Counting refusals: every one counts, and a flood of them leaves a few lines."""

from __future__ import annotations

from distilmq.transport.refusals import INTERVAL, TOLD_EACH, Refusals


def test_the_first_of_an_interval_are_told_and_all_are_counted() -> None:
    now = 100.0
    told: list[tuple[str, int, str]] = []
    refusals = Refusals(lambda *line: told.append(line), clock=lambda: now)

    for number in range(1000):
        refusals.count("no key", f"from {number}")
    refusals.count("too large")

    assert refusals.counts == {"no key": 1000, "too large": 1}
    assert told == [("no key", count, f"from {count - 1}") for count in range(1, TOLD_EACH + 1)] + [
        ("too large", 1, "")
    ]


def test_the_next_interval_says_how_many_were_not_told() -> None:
    now = 100.0
    told: list[tuple[str, int, str]] = []
    refusals = Refusals(lambda *line: told.append(line), clock=lambda: now)
    for _ in range(TOLD_EACH + 7):
        refusals.count("no key")
    told.clear()

    now += INTERVAL
    refusals.count("no key", "from 10.0.0.7")

    assert told == [
        ("no key", TOLD_EACH + 7, "7 more were not told one by one"),
        ("no key", TOLD_EACH + 8, "from 10.0.0.7"),
    ]

"""Crash points are named, counted, and absent unless asked for."""

from __future__ import annotations

import pytest

from distilmq_broker.crash_points import POINTS, CrashAt, CrashPoints, parse_crash_at


def test_without_a_name_nothing_happens() -> None:
    crash = parse_crash_at("")

    assert type(crash) is CrashPoints
    for point in POINTS:
        crash.reach(point)
        with crash.during(point):
            pass


def test_a_point_may_say_at_which_time() -> None:
    crash = parse_crash_at("rotation:3")

    assert isinstance(crash, CrashAt)
    assert (crash.point, crash.left) == ("rotation", 3)
    crash.reach("before_ack")
    crash.reach("rotation")
    assert crash.left == 2


def test_an_unknown_point_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="no crash point 'lunch'; there are before_payload, "):
        parse_crash_at("lunch")

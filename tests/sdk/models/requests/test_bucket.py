"""One limit per minute: what comes in, what may be taken, and what is owed."""

from __future__ import annotations

import math

import pytest

from distilmq.models.requests.bucket import Bucket


def test_what_comes_in_comes_in_under_the_limit_of_the_time() -> None:
    bucket = Bucket(0, 0.0, full=False)

    never = bucket.wait(1.0)
    bucket.set_limit(600, 10.0)

    assert never == math.inf
    assert bucket.wait(10.0) > 0


def test_a_request_waits_until_all_of_it_is_there_or_the_bucket_is_full() -> None:
    bucket = Bucket(6_000, 0.0, full=False)

    assert bucket.wait(0.0, 1.0) < bucket.wait(0.0, 50.0) < bucket.wait(0.0, 100.0)
    assert bucket.wait(0.0, 100.0) == bucket.wait(0.0, 5_000.0)


def test_what_is_taken_on_credit_is_owed() -> None:
    bucket = Bucket(6_000, 0.0)

    bucket.take(1_000.0, 0.0)
    owed = bucket.wait(0.0, 1.0)
    bucket.correct(990.0)

    assert owed == pytest.approx(901 / (5_000 / 60))
    assert bucket.wait(0.0, 1.0) == 0.0

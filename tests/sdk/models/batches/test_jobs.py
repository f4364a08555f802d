"""How requests are divided into jobs, and how they are called there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distilmq.models.batches.jobs import custom_id, lots, number_in


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 10), st.integers(1, 120))
def test_every_request_is_in_one_job_in_order_and_no_job_is_too_large(
    sizes: list[int], most_requests: int, most_bytes: int
) -> None:
    divided = lots(sizes, most_requests=most_requests, most_bytes=most_bytes)

    assert [place for lot in divided for place in lot] == list(range(len(sizes)))
    for lot in divided:
        assert 1 <= len(lot) <= most_requests
        assert len(lot) == 1 or sum(sizes[place] for place in lot) <= most_bytes


def test_a_job_is_as_full_as_the_bounds_allow() -> None:
    assert lots([10] * 5, most_requests=2, most_bytes=1000) == [range(2), range(2, 4), range(4, 5)]
    assert lots([10, 10, 90, 10], most_requests=9, most_bytes=100) == [range(2), range(2, 4)]
    assert lots([], most_requests=9, most_bytes=100) == []


def test_a_request_is_known_by_its_name_in_its_own_job_only() -> None:
    name = custom_id("a1b2", 17)

    assert number_in("a1b2", name) == 17
    assert [number_in("a1b3", name), number_in("a1b2", "something"), number_in("a1b2", "a1b2-x")] == [None] * 3

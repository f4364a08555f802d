"""Payloads are put together as if all their rows had been encoded at once."""

from __future__ import annotations

import pytest

from distilmq.protocol.rows import encode_rows, join_bodies
from distilmq_broker.payloads import array_body, array_length, join_payloads


@pytest.mark.parametrize(
    "counts", [(), (0,), (3,), (0, 0), (7, 8), (7, 9), (15, 1, 0, 5), (60_000, 5_535), (65_535, 1)]
)
def test_joined_payloads_are_one_array_of_all_rows(counts: tuple[int, ...]) -> None:
    rows = [{"row": row} for row in range(sum(counts))]
    payloads: list[bytes] = []
    for count in counts:
        start = sum(len_ for len_ in counts[: len(payloads)])
        payloads.append(encode_rows(rows[start : start + count]))

    joined = join_payloads(payloads)

    assert joined == encode_rows(rows)
    assert array_length(joined) == len(rows)


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x80", b"\xdc\x00", b"\xdd\x00\x00\x00", b"text"])
def test_what_is_no_array_has_no_length_and_cannot_be_joined(data: bytes) -> None:
    assert array_length(data) is None
    with pytest.raises(ValueError, match="array of encoded rows"):
        join_payloads([data])


@pytest.mark.parametrize("count", [0, 3, 15, 16, 70_000])
def test_a_body_is_an_array_without_its_head(count: int) -> None:
    payload = encode_rows([{"row": row} for row in range(count)])

    assert join_bodies(count, [bytes(array_body(payload))]) == payload


def test_what_is_no_array_has_no_body() -> None:
    with pytest.raises(ValueError, match="array of encoded rows"):
        array_body(b"text")

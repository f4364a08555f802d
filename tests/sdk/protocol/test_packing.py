"""Plain values as msgpack."""

from __future__ import annotations

from distilmq.protocol.packing import pack, unpack


def test_half_a_surrogate_pair_comes_back_as_it_went_in() -> None:
    answer = {"generations": ["a cut emoji \ud83d", "a whole one \U0001f600"]}

    assert unpack(pack(answer)) == answer

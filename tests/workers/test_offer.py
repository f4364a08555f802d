"""A large answer goes in parts: a few at a time, until the coordinator has them all, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from distilmq.protocol import messages as m
from distilmq.protocol.rows import count_rows, decode_rows, encode_each
from distilmq_workers.commands import Say
from distilmq_workers.offer import OFFER_AGAIN, OFFER_RARELY, PARTS_ON_THE_WAY, Offer
from distilmq_workers.pieces import in_pieces

LEASE = m.Lease(step="s", seq_no=())
MAX_PART = 40


def rows_of(sizes: Iterable[int]) -> list[dict[str, str]]:
    return [{"n": str(place) * size} for place, size in enumerate(sizes)]


def offer_of(rows: list[dict[str, str]], *, max_part: int = MAX_PART) -> Offer:
    payload = in_pieces(encode_each(rows), max_part)
    return Offer(m.Result(session="me", lease=LEASE, rows=len(rows)), payload, 0.0, max_part=max_part)


@dataclass
class Taker:
    """A coordinator that keeps parts in order, as the real one does."""

    parts: list[tuple[bytes, int]] = field(default_factory=list[tuple[bytes, int]])
    result: m.Result | None = None

    def take(self, said: Say) -> int | None:
        """What it answers: how many parts it has; nothing to the result once all are there."""
        if isinstance(said.message, m.Result) and said.message.parts == len(self.parts):
            self.result = said.message
            return None
        if isinstance(said.message, m.ResultPart) and said.message.number == len(self.parts):
            self.parts.append((said.payload[0], said.message.rows))
        return len(self.parts)

    def rows(self) -> list[dict[str, str]]:
        """The rows of all arrays that the parts make."""
        rows: list[dict[str, str]] = []
        array = b""
        for data, count in self.parts:
            array += data
            if count:
                assert count_rows(array) == count
                rows += decode_rows(array)
                array = b""
        assert array == b""
        return rows


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(10, 60))
def test_pieces_hold_all_rows_and_are_small_or_a_row_alone(sizes: list[int], most: int) -> None:
    rows = rows_of(sizes)

    pieces = in_pieces(encode_each(rows), most)

    assert [row for piece in pieces for row in decode_rows(piece)] == rows
    assert all(len(piece) <= most or count_rows(piece) == 1 for piece in pieces)


def test_a_small_answer_goes_at_once_and_whole() -> None:
    offer = offer_of([{"n": "1"}])

    [said] = offer.say(0.0)

    assert isinstance(said.message, m.Result)
    assert (said.message.parts, [decode_rows(frame) for frame in said.payload]) == (0, [[{"n": "1"}]])


def test_for_a_coordinator_that_takes_no_parts_it_is_whole_however_large() -> None:
    payload = in_pieces(encode_each(rows_of([100])), 1000)
    offer = Offer(m.Result(session="me", lease=LEASE, rows=1), payload, 0.0, max_part=0)

    assert [said.payload for said in offer.say(0.0)] == [payload]


def test_only_a_few_parts_are_on_their_way() -> None:
    offer = offer_of(rows_of([20] * 10))
    parts = len(offer_of(rows_of([20] * 10))._parts)

    first = offer.say(0.0)
    more = offer.kept(1, 1.0)
    nothing_new = offer.kept(1, 1.0)

    assert [said.message.number for said in first] == [0, 1]  # type: ignore[attr-defined]
    assert [said.message.number for said in more] == [2]  # type: ignore[attr-defined]
    assert nothing_new == []
    assert len(first) == PARTS_ON_THE_WAY < parts


def test_who_takes_long_is_given_time() -> None:
    offer = offer_of(rows_of([20] * 10))
    offer.say(0.0)
    patience = offer.again_at

    offer.kept(1, 10.0)

    assert patience == OFFER_AGAIN
    assert offer.again_at == 50.0


def test_one_part_is_enough_to_ask_with_and_it_is_asked_more_and_more_rarely() -> None:
    offer = offer_of(rows_of([20] * 10))
    offer.say(0.0)
    asked: list[float] = []
    now = offer.again_at
    for _ in range(8):
        assert [said.message.number for said in offer.say_again(now)] == [0]  # type: ignore[attr-defined]
        asked.append(offer.again_at - now)
        now = offer.again_at

    assert asked == [min(OFFER_AGAIN * 2**n, OFFER_RARELY) for n in range(1, 9)]


def test_a_coordinator_that_has_begun_anew_gets_all_parts_again() -> None:
    rows = rows_of([20] * 6)
    offer = offer_of(rows)
    _deliver(offer, Taker(), offer.say(0.0), stop_at=4)

    fresh = Taker()
    _deliver(offer, fresh, offer.say(1.0))

    assert fresh.rows() == rows
    assert fresh.result is not None
    assert fresh.result.rows == 6


@given(st.lists(st.integers(20, 90), min_size=2, max_size=12), st.data())
def test_whatever_is_lost_all_rows_come_once_and_in_order(sizes: list[int], data: st.DataObject) -> None:
    rows = rows_of(sizes)
    offer, taker = offer_of(rows), Taker()
    now = 0.0
    waiting = offer.say(now)
    for _ in range(data.draw(st.integers(0, 40), label="mishaps")):
        mishap = data.draw(st.sampled_from(["lose", "lose the answer", "restart", "reconnect", "repeat"]))
        answers = [] if mishap == "lose" else [taker.take(said) for said in waiting]
        if mishap == "restart":
            taker = Taker()
        if mishap == "repeat":
            answers += answers
        now += 1.0
        if mishap in ("reconnect", "restart"):
            waiting = offer.say(now)
        elif mishap == "repeat" and taker.result is None:
            waiting = [said for parts in answers if parts is not None for said in offer.kept(parts, now)]
        else:
            now = max(now, offer.again_at)
            waiting = offer.say_again(now)

    _deliver(offer, taker, waiting or offer.say_again(now))

    assert taker.rows() == rows
    assert taker.result is not None


def _deliver(offer: Offer, taker: Taker, said: Sequence[Say], *, stop_at: int = 1000) -> None:
    """Carries messages until the result is taken, or so many parts are."""
    waiting = list(said)
    for _ in range(10_000):
        if taker.result is not None or len(taker.parts) == stop_at:
            return
        if not waiting:
            waiting = offer.say_again(offer.again_at)
        answer = taker.take(waiting.pop(0))
        if answer is not None:
            waiting += offer.kept(answer, offer.again_at)
    raise AssertionError("it never came to an end")
